//! Parse, log, run, exit code.

fn main() -> ! {
    groupdistil::cli::main()
}
