//! Parse, log, run, exit code.

fn main() -> std::process::ExitCode {
    groupdistil::cli::main()
}
