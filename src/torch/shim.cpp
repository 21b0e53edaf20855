// What libtorch offers in C++ only: TorchScript modules with real parameters and extra files, CPU autocast, memory formats,
// fused optimiser steps, and what becomes of freed memory. Every function returns 0, or 1 with the reason in gd_last_error: no exception crosses into Rust.

#include <dlfcn.h>
#include <malloc.h>
#include <stdlib.h>
#include <torch/script.h>
#include <torch/csrc/autograd/generated/variable_factories.h>
#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/_fused_sgd.h>

#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

namespace {

thread_local std::string last_error;

template <typename Body> int guarded(Body body) {
  try {
    body();
    return 0;
  } catch (const c10::Error& error) {
    last_error = error.what_without_backtrace();
  } catch (const std::exception& error) {
    last_error = error.what();
  } catch (...) {
    last_error = "unknown C++ exception";
  }
  return 1;
}

// A dotted name such as layer1.0.conv1.weight is a path of submodules that ends in a tensor.
struct Node {
  std::map<std::string, std::unique_ptr<Node>> children;
  std::vector<std::string> child_order;
  std::vector<std::tuple<std::string, at::Tensor, bool>> tensors;

  Node& child(const std::string& name) {
    auto& slot = children[name];
    if (!slot) {
      slot = std::make_unique<Node>();
      child_order.push_back(name);
    }
    return *slot;
  }
};

torch::jit::Module build(const Node& node, const std::string& type_name,
                         const std::shared_ptr<torch::jit::CompilationUnit>& unit) {
  torch::jit::Module module(c10::QualifiedName(type_name), unit);
  module.register_attribute("training", c10::BoolType::get(), false);
  for (const auto& [name, tensor, is_buffer] : node.tensors) {
    if (is_buffer) {
      module.register_buffer(name, tensor);
    } else {
      module.register_parameter(name, tensor, false);
    }
  }
  for (const auto& name : node.child_order) {
    module.register_module(name, build(*node.children.at(name), type_name + "_" + name, unit));
  }
  return module;
}

std::vector<at::Tensor> tensors(at::Tensor* const* pointers, size_t count) {
  std::vector<at::Tensor> list;
  list.reserve(count);
  for (size_t index = 0; index < count; ++index) list.push_back(*pointers[index]);
  return list;
}

// libtorch asks for huge pages for blocks of 2 MiB and more where this is set, and looks once, at its first allocation: so before
// main, while there is one thread. A user's own value stays.
__attribute__((constructor)) void ask_for_huge_pages() { setenv("THP_MEM_ALLOC_ENABLE", "1", 0); }

// glibc raises its thresholds as large blocks are freed; what several threads leave between small blocks then stays resident and grows
// with the cohort. Fixed, preprocess of 160 subjects needs 9 MiB more than of 32, else 51, for 2 to 4 % of its time.
constexpr int kept_bytes = 128 * 1024;
__attribute__((constructor)) void give_freed_memory_back() { mallopt(M_TRIM_THRESHOLD, kept_bytes); }

}  // namespace

extern "C" {

const char* gd_last_error() { return last_error.c_str(); }

// The linker drops libtorch_cuda; this must run before the first question whether CUDA is there. 1 = loaded.
// float32 is float32 on a GPU too: libtorch lets cuDNN round the factors of convolutions to ten bits (TF32) unless told otherwise.
int gd_load_cuda() {
  if (dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) == nullptr) return 0;
  return guarded([] {
           at::globalContext().setAllowTF32CuDNN(false);
           at::globalContext().setAllowTF32CuBLAS(false);
         }) == 0;
}

int gd_script_save(const char* const* names, at::Tensor* const* values, const int* is_buffer, size_t count,
                   const char* source, const char* const* extra_names, const char* const* extra_data,
                   const size_t* extra_sizes, size_t extra_count, const char* path) {
  return guarded([&] {
    torch::NoGradGuard no_grad;
    Node root;
    for (size_t index = 0; index < count; ++index) {
      Node* node = &root;
      std::stringstream stream(names[index]);
      std::vector<std::string> parts;
      for (std::string part; std::getline(stream, part, '.');) parts.push_back(part);
      for (size_t at = 0; at + 1 < parts.size(); ++at) node = &node->child(parts[at]);
      node->tensors.emplace_back(parts.back(), values[index]->detach().contiguous(), is_buffer[index] != 0);
    }
    auto unit = std::make_shared<torch::jit::CompilationUnit>();
    auto module = build(root, "__torch__.groupdistil.Classifier", unit);
    module.define(source);
    torch::jit::ExtraFilesMap extra;
    for (size_t index = 0; index < extra_count; ++index) {
      extra[extra_names[index]] = std::string(extra_data[index], extra_sizes[index]);
    }
    module.save(path, extra);
  });
}

// Reads one extra file of a TorchScript archive; the caller frees with gd_free_text. Absent = size 0 and null.
int gd_script_extra(const char* path, const char* name, char** data, size_t* size) {
  return guarded([&] {
    torch::jit::ExtraFilesMap extra;
    extra[name] = "";
    torch::jit::load(path, c10::Device(c10::kCPU), extra);
    const std::string& text = extra[name];
    *size = text.size();
    *data = nullptr;
    if (!text.empty()) {
      *data = new char[text.size()];
      std::copy(text.begin(), text.end(), *data);
    }
  });
}

void gd_free_text(char* data) { delete[] data; }

// The named parameters and buffers of a TorchScript archive, each handed over as a new tensor to `visit`.
int gd_script_tensors(const char* path, void (*visit)(void*, const char*, at::Tensor*), void* context) {
  return guarded([&] {
    auto module = torch::jit::load(path, c10::Device(c10::kCPU));
    for (const auto& entry : module.named_parameters()) {
      visit(context, entry.name.c_str(), new at::Tensor(entry.value.detach()));
    }
    for (const auto& entry : module.named_buffers()) {
      visit(context, entry.name.c_str(), new at::Tensor(entry.value.detach()));
    }
  });
}

int gd_autocast_begin(int cuda, int* was_enabled) {
  return guarded([&] {
    auto device = cuda ? at::kCUDA : at::kCPU;
    *was_enabled = at::autocast::is_autocast_enabled(device);
    at::autocast::set_autocast_dtype(device, at::kBFloat16);
    at::autocast::set_autocast_enabled(device, true);
    at::autocast::increment_nesting();
  });
}

int gd_autocast_end(int cuda, int was_enabled) {
  return guarded([&] {
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(cuda ? at::kCUDA : at::kCPU, was_enabled != 0);
  });
}

// In place, so that optimiser state and names stay with the tensor. Only 4-d tensors have the format. With one channel both orders are
// one in memory and contiguous() changes nothing; strides must say channels-last all the same, or the first layer, and what follows it,
// is computed in the other order: by to(), as Module.to(memory_format=...) does.
int gd_channels_last(at::Tensor* tensor) {
  return guarded([&] {
    torch::NoGradGuard no_grad;
    if (tensor->dim() != 4) return;
    tensor->set_data(tensor->detach().to(tensor->options(), false, false, at::MemoryFormat::ChannelsLast));
  });
}

// 1: freed memory stays with the process, also that of large blocks, which glibc otherwise gives back at once. 0: as at the start.
void gd_keep_memory(int keep) {
  mallopt(M_MMAP_MAX, keep ? 0 : 65536);
  mallopt(M_TRIM_THRESHOLD, keep ? -1 : kept_bytes);
  if (!keep) malloc_trim(0);
}

int gd_fused_adamw(at::Tensor* const* parameters, at::Tensor* const* gradients, at::Tensor* const* first_moments,
                   at::Tensor* const* second_moments, at::Tensor* const* steps, size_t count, double learning_rate,
                   double beta1, double beta2, double weight_decay, double epsilon) {
  return guarded([&] {
    torch::NoGradGuard no_grad;
    auto p = tensors(parameters, count), g = tensors(gradients, count), m = tensors(first_moments, count),
         v = tensors(second_moments, count), s = tensors(steps, count);
    for (auto& step : s) step.add_(1);
    at::_fused_adamw_(p, g, m, v, {}, s, learning_rate, beta1, beta2, weight_decay, epsilon, false, false);
  });
}

int gd_fused_sgd(at::Tensor* const* parameters, at::Tensor* const* gradients, at::Tensor* const* momenta, size_t count,
                 double learning_rate, double momentum, double weight_decay, int nesterov, int first_step) {
  return guarded([&] {
    torch::NoGradGuard no_grad;
    auto p = tensors(parameters, count), g = tensors(gradients, count), b = tensors(momenta, count);
    at::_fused_sgd_(p, g, b, weight_decay, momentum, learning_rate, 0.0, nesterov != 0, false, first_step != 0);
  });
}
}
