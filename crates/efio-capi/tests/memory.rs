//! Memory under C programs: no access beyond what is theirs, nothing lost, over ten thousand files.
//!
//! The programs of `conformance.rs` once more, in checkers that are many times slower; so only some of their cases.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

mod built;

const LIMIT: Duration = Duration::from_secs(240);

/// Cases of every kind: `program case`.
const CASES: [&str; 12] = [
    "states after_its_close_a_handle_tells_how_it_went_and_says_ebadf_to_all_else",
    "states any_int_that_never_was_a_handle_is_ebadf",
    "reading a_file_that_shrinks_gives_no_byte_that_was_not_in_it",
    "writing any_size_is_taken_whole_and_reaches_the_file",
    "writing the_bytes_of_calls_from_several_threads_are_never_mixed",
    "failing a_full_disk_is_told_by_the_close",
    "callbacks a_callback_may_make_every_call",
    "callbacks after_ef_unset_cb_func_the_data_may_be_freed",
    "pools a_task_may_destroy_its_own_pool",
    "many eight_threads_copy_a_hundred_small_files_each",
    "instances instances_live_side_by_side_and_end_alone",
    "whole the_last_failure_is_told_in_words",
];

/// What valgrind runs: it needs a second for what takes some milliseconds.
const SLOW_CASES: [&str; 6] = [
    "states after_its_close_a_handle_tells_how_it_went_and_says_ebadf_to_all_else",
    "failing a_full_disk_is_told_by_the_close",
    "callbacks ef_unset_cb_func_from_inside_a_callback_does_not_wait_for_itself",
    "pools the_result_of_a_function_goes_to_its_notice_in_the_same_thread",
    "instances instances_live_side_by_side_and_end_alone",
    "whole the_last_failure_is_told_in_words",
];

fn program(name: &str, flags: &[&str]) -> Option<PathBuf> {
    let Some(compiler) = built::compiler() else {
        built::skip("there is no C compiler");
        return None;
    };
    let name_of_both = format!("{name}{}", flags.concat().replace(|c: char| !c.is_alphanumeric(), ""));
    Some(built::Program { name: &name_of_both, sources: &built::sources(name), flags }.build(&compiler))
}

/// Whether the compiler's AddressSanitizer makes programs that run here.
fn sanitizer_works() -> bool {
    let Some(compiler) = built::compiler() else { return false };
    let folder = built::workshop("probe");
    let _held = built::lock(&folder.join("lock"));
    let (source, probe) = (folder.join("probe.c"), folder.join("probe"));
    std::fs::write(&source, "int main(void) { return 0; }\n").unwrap();
    let mut build = Command::new(compiler);
    let built = build.arg("-fsanitize=address").arg(&source).arg("-o").arg(&probe).output();
    built.is_ok_and(|output| output.status.success())
        && Command::new(probe).output().is_ok_and(|output| output.status.success())
}

fn under_the_sanitizer(case: &str) {
    let (name, case) = case.split_once(' ').unwrap();
    let Some(program) = program(name, &["-fsanitize=address"]) else { return };
    built::judge(Command::new(program).arg(case).env("ASAN_OPTIONS", "abort_on_error=0:exitcode=9"), LIMIT);
}

#[test]
fn ten_thousand_cycles_are_clean_under_address_sanitizer() {
    if !sanitizer_works() {
        return built::skip("the C compiler has no AddressSanitizer");
    }
    under_the_sanitizer("many ten_thousand_cycles");
}

#[test]
fn cases_of_every_kind_are_clean_under_address_sanitizer() {
    if !sanitizer_works() {
        return built::skip("the C compiler has no AddressSanitizer");
    }
    CASES.into_iter().for_each(under_the_sanitizer);
}

fn under_valgrind(case: &str) {
    let (name, case) = case.split_once(' ').unwrap();
    let Some(program) = program(name, &[]) else { return };
    let mut command = Command::new("valgrind");
    command.args(["-q", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite"]);
    command.args(["--show-leak-kinds=definite", "--fair-sched=try"]).arg(program).arg(case);
    built::judge(&mut command, LIMIT);
}

#[test]
fn ten_thousand_cycles_are_clean_under_valgrind() {
    if !built::has("valgrind") {
        return built::skip("valgrind is not installed");
    }
    under_valgrind("many ten_thousand_cycles");
}

#[test]
fn cases_of_every_kind_are_clean_under_valgrind() {
    if !built::has("valgrind") {
        return built::skip("valgrind is not installed");
    }
    SLOW_CASES.into_iter().for_each(under_valgrind);
}
