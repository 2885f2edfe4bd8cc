//! What the headers promise, statement by statement: each case is a C program's, in a process of its own.
//!
//! The programs stand in `c/`. They are written from the text of the headers and know nothing of the code. A case has
//! the name of its statement there and here; `every_case_is_run` keeps the two lists the same.
//!
//! `EFIO_C_FLAGS="-fsanitize=address"` (or any other flags, separated by spaces) builds the programs with them.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

mod built;

/// How long a case may take; only one that hangs does.
const LIMIT: Duration = Duration::from_secs(120);

/// The program of that name, or None and a reason.
fn program(name: &str) -> Option<PathBuf> {
    let Some(compiler) = built::compiler() else {
        built::skip("there is no C compiler");
        return None;
    };
    let flags = std::env::var("EFIO_C_FLAGS").unwrap_or_default();
    let flags: Vec<&str> = flags.split_whitespace().collect();
    let own = flags.join("").replace(|c: char| !c.is_alphanumeric(), "");
    let sources = built::sources(name);
    Some(built::Program { name: &format!("{name}{own}"), sources: &sources, flags: &flags }.build(&compiler))
}

fn run(name: &str, case: &str) {
    if let Some(program) = program(name) {
        built::judge(Command::new(program).arg(case), LIMIT);
    }
}

/// A module with a test for each case of `c/<program>.c`.
macro_rules! program {
    ($program:ident: $($case:ident)*) => {
        mod $program {
            pub(super) const CASES: &[&str] = &[$(stringify!($case)),*];
            $(#[test]
            fn $case() {
                super::run(stringify!($program), stringify!($case));
            })*
        }
    };
}

#[test]
fn every_case_is_run() {
    let listed = [
        ("opening", opening::CASES),
        ("states", states::CASES),
        ("reading", reading::CASES),
        ("readiness", readiness::CASES),
        ("writing", writing::CASES),
        ("failing", failing::CASES),
        ("closing", closing::CASES),
        ("callbacks", callbacks::CASES),
        ("pools", pools::CASES),
        ("many", many::CASES),
        ("processes", processes::CASES),
        ("instances", instances::CASES),
        ("events", events::CASES),
        ("offsets", offsets::CASES),
        ("whole", whole::CASES),
    ];
    let folder = std::fs::read_dir(built::package().join("tests/c")).unwrap();
    let files = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let programs: BTreeSet<String> = files
        .filter_map(|name| Some(name.strip_suffix(".c")?.to_string()))
        .filter(|name| name != "case")
        .collect();
    assert_eq!(programs, listed.iter().map(|(name, _)| (*name).to_string()).collect());
    for (name, cases) in listed {
        let Some(program) = program(name) else { return };
        let output = Command::new(program).arg("--list").output().expect("it lists its cases");
        let there = String::from_utf8(output.stdout).unwrap();
        assert_eq!(there.lines().collect::<BTreeSet<_>>(), cases.iter().copied().collect(), "{name}");
    }
}

program! { opening:
    a_path_that_is_null_is_einval
    an_empty_path_is_einval
    o_append_and_nothing_else_is_einval
    an_access_mode_that_is_none_is_einval
    handles_are_numbers_from_0_on
    every_set_of_flags_opens
    the_status_of_an_open_file_is_its_handle_however_often_it_is_asked
    the_status_of_a_failed_open_is_the_errno_of_open
    a_folder_is_refused_with_eisdir
    a_file_that_may_not_be_read_is_eacces
    a_failed_open_tells_the_same_again_until_its_number_is_reused
    a_failed_open_that_was_asked_about_frees_its_handle
    a_failed_open_that_is_closed_unasked_says_ebadf_and_is_free
    o_creat_takes_a_mode_less_the_umask
    o_trunc_empties_the_file
    o_trunc_empties_a_file_that_is_only_read
    the_path_is_copied_and_may_be_any_bytes
    o_cloexec_is_always_on
    an_open_that_waits_holds_up_no_other
    a_pipe_without_a_reader_is_enxio_with_o_nonblock
    ef_init_may_be_called_again_and_by_many_threads
    ef_init_is_not_needed
    o_dsync_sends_each_write_to_the_disk_at_once
    o_tmpfile_makes_a_file_without_a_name
    emfile_of_the_kernel_is_told_by_the_status_and_passes
    emfile_when_no_handle_is_left
    a_file_whose_name_goes_away_stays_open
    a_relative_path_is_that_of_the_folder_at_the_time_of_the_call
}

program! { states:
    any_int_that_never_was_a_handle_is_ebadf
    before_anything_was_started_every_handle_is_ebadf
    callbacks_may_be_set_and_unset_before_anything_was_started
    while_it_opens_a_handle_can_be_asked_and_closed_and_nothing_else
    a_file_for_reading_is_not_written
    a_file_for_writing_is_not_read_at_its_end_either
    an_open_file_says_einval_to_ef_close_status
    a_failed_open_says_ebadf_to_all_but_its_status
    while_it_closes_only_the_close_can_be_asked_about
    ef_close_immediate_waits_for_a_close_that_has_begun
    after_its_close_a_handle_tells_how_it_went_and_says_ebadf_to_all_else
    after_ef_close_immediate_the_close_can_still_be_asked_about
    a_null_buffer_is_einval
    a_length_of_0_is_einval
    a_length_above_ssize_max_is_einval
    success_leaves_errno_alone_in_every_call
    errno_is_each_threads_own
}

program! { reading:
    a_file_of_any_size_is_read_in_pieces_of_any_size
    a_file_that_is_not_in_the_page_cache_is_read
    the_end_of_the_file_is_0_as_often_as_asked
    an_empty_file_is_at_its_end
    a_file_that_grows_is_read_on
    a_file_that_shrinks_gives_no_byte_that_was_not_in_it
    a_file_cut_to_nothing_gives_0
    holes_are_read_as_zeros
    files_of_proc_with_size_0_are_read
    devices_are_read
    a_pipe_gives_what_is_written_into_it_and_then_its_end
    a_read_error_is_told_as_often_as_the_disk_says_so_and_never_as_data
    one_offset_for_reading_and_writing
    what_the_handle_has_written_is_read
    reads_and_writes_of_a_file_open_for_both_mix_as_in_posix
    append_handles_read_from_the_start_and_write_at_the_end
    every_eagain_of_ef_read_is_followed_by_a_read_callback
    every_eagain_of_ef_file_ready_for_read_is_followed_by_a_read_callback
    a_slow_pipe_is_read_by_callbacks_alone
    two_threads_that_read_one_handle_share_its_bytes
}

program! { readiness:
    ready_says_1_for_data_and_takes_none_of_it
    ready_says_0_at_the_end_of_the_file
    ready_says_0_for_an_empty_file_and_1_when_it_has_grown
    a_read_after_a_0_of_ready_gives_what_the_file_has_grown_by
    ready_tells_the_error_of_the_read
    after_ready_ef_read_does_not_say_eagain
    ready_of_an_empty_pipe_is_eagain_and_a_read_callback_follows
    poll_says_1_for_a_file_open_for_writing
    poll_says_2_for_a_read_only_file_with_data
    poll_says_3_for_a_file_open_for_both_with_data
    after_a_2_of_poll_ef_read_does_not_say_eagain
    a_2_of_poll_comes_after_the_read_callback
    poll_says_2_at_the_end_of_the_file
    poll_says_2_for_a_read_error
    poll_says_0_for_a_pipe_with_nothing_in_it
    poll_has_no_1_while_ef_write_would_say_0_and_has_it_again_when_there_is_room
    at_the_write_limit_ef_write_says_0_and_takes_nothing
    a_single_call_above_the_whole_limit_is_taken_in_part
    ready_says_1_when_a_pipe_has_a_writer_again_though_nobody_has_read_the_end
}

program! { writing:
    any_size_is_taken_whole_and_reaches_the_file
    two_hundred_mebibytes_in_small_calls_are_all_taken
    the_buffer_may_be_reused_at_once
    only_the_written_bytes_of_a_file_change
    a_file_of_an_odd_length_is_appended_to
    two_handles_append_to_one_file_and_no_line_is_lost
    another_process_appends_to_the_same_file_and_no_line_is_lost
    two_processes_of_this_library_append_to_one_file
    what_is_written_is_in_the_file_after_a_while_without_being_asked_for
    a_file_is_never_longer_than_what_was_written_to_it
    the_bytes_of_calls_from_several_threads_are_never_mixed
    o_sync_writes_reach_the_file_in_order
    a_pipe_takes_what_is_written_in_order
    a_terminal_less_device_takes_what_is_written
    ef_sync_writes_at_once
    ef_sync_with_nothing_to_do_is_0
    ef_sync_makes_what_was_written_durable
}

program! { failing:
    a_full_disk_is_told_by_the_close
    a_full_disk_is_told_by_ef_close_immediate
    a_full_disk_is_told_by_each_later_write_and_sync_and_once_more_by_the_close
    a_full_disk_is_told_without_being_asked_for_a_sync
    a_file_that_grows_beyond_its_limit_is_efbig_and_no_signal
    efbig_is_told_by_each_later_call
    a_pipe_whose_reader_left_is_epipe_and_no_signal
    an_error_of_one_file_leaves_the_others_alone
    a_failed_handle_is_reused_without_its_error
    the_callback_tells_the_close_of_a_failed_file_too
    bytes_that_were_lost_are_counted_in_the_event
}

program! { closing:
    ef_close_returns_while_bytes_wait_for_the_disk
    a_second_ef_close_is_ebusy
    everything_written_is_in_the_file_when_the_close_is_done
    everything_written_is_in_the_file_when_ef_close_immediate_returns
    a_file_that_is_still_being_opened_can_be_closed
    a_file_is_closed_right_after_its_ef_open
    a_file_is_closed_with_a_read_under_way_and_no_callback_follows_the_close
    a_pipe_that_gives_nothing_is_closed
    ef_close_immediate_tells_the_callback_once_as_well
    ef_close_immediate_gives_up_at_its_deadline_and_the_close_goes_on
    a_pipe_that_takes_nothing_is_given_up_after_the_close_deadline
    ten_thousand_open_close_cycles_use_few_numbers
    a_handle_whose_close_nobody_asked_about_answers_after_4000_later_closes
    closes_that_nobody_asks_about_do_not_use_up_the_numbers
    a_late_status_call_is_never_answered_by_another_file
    a_number_is_not_reused_while_its_file_is_open
    of_two_threads_that_close_one_handle_one_succeeds
}

program! { callbacks:
    one_open_and_one_close_each_in_order
    a_failed_open_tells_open_once_and_no_close
    reading_ahead_and_writing_are_never_told
    callbacks_come_one_at_a_time
    callbacks_come_one_at_a_time_on_a_pool_too
    function_and_data_change_in_one_step
    the_data_may_be_any_pointer
    after_ef_unset_cb_func_none_runs_and_none_begins
    after_ef_unset_cb_func_none_runs_on_a_pool_either
    after_ef_unset_cb_func_the_data_may_be_freed
    ef_unset_cb_func_from_inside_a_callback_does_not_wait_for_itself
    another_function_is_set_from_inside_a_callback
    a_null_function_is_none
    what_was_done_while_there_was_none_is_not_told_later
    a_status_call_in_the_callback_is_answered_by_what_it_tells_of
    a_callback_may_make_every_call
    a_callback_on_a_pool_may_make_every_call
    ef_close_immediate_from_inside_a_callback_does_not_wait_for_itself
    a_number_is_not_reused_before_its_last_callback_has_returned
}

program! { pools:
    a_pool_of_no_threads_is_einval
    a_pool_runs_all_its_tasks_before_it_is_destroyed
    tasks_begin_in_order
    the_result_of_a_function_goes_to_its_notice_in_the_same_thread
    the_number_of_finished_tasks_is_told
    what_is_no_pool_is_einval
    a_task_for_no_pool_or_of_no_function_is_left_alone
    a_task_may_destroy_its_own_pool
    a_task_may_hand_over_tasks
    many_threads_hand_over_to_many
    signals_are_blocked_in_the_threads_of_a_pool
    callbacks_run_on_the_pool_that_was_set_before_ef_init
    callbacks_run_on_the_pool_that_was_set_after_ef_init_until_it_is_taken_away
    of_several_pools_the_last_holds
    callbacks_go_on_when_their_pool_is_destroyed
    a_pool_that_is_none_is_left_alone
}

program! { many:
    fifty_files_are_copied_by_one_thread
    four_threads_copy_ten_files_each
    a_large_file_is_copied
    eight_threads_copy_a_hundred_small_files_each
    two_hundred_files_are_open
    two_thousand_files_are_open
    ten_thousand_cycles
}

program! { processes:
    a_child_may_not_use_its_parents_handles
    a_child_that_exits_writes_nothing_of_its_parents
    a_child_opens_files_of_its_own
    a_child_of_a_child_opens_files_of_its_own
    children_forked_while_files_are_busy_do_no_harm
    exit_writes_what_is_left
    exit_finishes_a_close_that_has_begun
    exit_waits_no_longer_than_its_deadline
    exit_from_inside_a_callback_ends
    calls_in_exit_handlers_do_no_harm
    exit_while_other_threads_write_ends_with_whole_calls
    a_killed_process_leaves_a_beginning_of_what_it_wrote
    a_killed_process_leaves_no_part_of_an_atomic_file
    threads_of_the_library_take_no_signals
    addresses_of_the_parent_name_nothing_of_its_child
    the_end_waits_for_all_instances_no_longer_than_for_one
}

program! { instances:
    the_version_is_that_of_the_header
    ef_options_init_zeroes_and_writes_the_size
    a_larger_struct_is_taken_if_what_is_unknown_is_0
    a_smaller_struct_of_an_older_program_is_taken
    ef_init_with_is_ebusy_when_the_library_runs
    limits_out_of_their_ranges_are_einval
    what_is_no_instance_is_einval
    there_are_at_most_254_instances
    instances_live_side_by_side_and_end_alone
    files_of_an_instance_have_no_callbacks
    the_calls_of_ef_io_work_on_files_of_an_instance
    ef_shutdown_writes_and_closes_everything
    after_ef_shutdown_opens_say_eshutdown_and_calls_with_its_handles_ebadf_until_ef_init
    ef_shutdown_can_be_repeated_through_many_starts
    ef_shutdown_tells_that_bytes_were_lost
    ef_shutdown_ends_at_its_deadline
    ef_shutdown_inside_a_callback_is_edeadlk
    a_write_limit_of_an_instance_holds_for_open_files_too
    files_of_ef_open_with_take_pages_only_and_tell_when_there_is_room
    ef_shutdown_of_what_was_never_started_is_0_and_starts_nothing
    ef_shutdown_returns_after_the_last_callback
    files_of_ef_open_with_have_pages_only_unless_a_limit_is_set
}

program! { events:
    an_open_a_sync_and_a_close_are_told_with_the_data_of_the_file
    a_failed_open_is_told_with_its_error
    the_descriptor_is_readable_while_there_are_events
    epoll_hears_of_each_event_by_edges
    what_a_call_leaves_makes_the_descriptor_readable_again
    no_events_are_0_and_nothing_waits
    ef_wait_without_end_is_woken_by_an_event
    ef_wait_without_end_returns_when_the_instance_is_freed
    a_write_limit_below_the_pages_holds_and_each_refusal_is_followed_by_writable
    wrong_arguments_of_ef_events_are_einval
    a_pipe_that_was_refused_is_told_to_be_readable
    a_cold_file_is_read_by_events_alone
    events_of_the_instance_of_ef_io_are_kept_beside_its_callbacks
    the_closed_event_is_the_last
    an_event_is_taken_once
    the_log_function_may_ask_for_events
    the_log_function_may_end_the_process
}

program! { offsets:
    ef_seek_moves_the_offset_of_reads_and_writes
    ef_seek_beyond_the_end_makes_a_hole
    ef_seek_refuses_what_lseek_refuses
    reads_and_writes_beyond_4_gib
    ef_read_at_reads_any_place_and_moves_no_offset
    ef_write_at_writes_any_place_and_moves_no_offset
    ef_write_at_is_refused_for_append_files_and_pipes
    every_refused_read_by_offset_is_followed_by_a_read_callback
    ef_truncate_cuts_and_extends_after_what_was_written
    ef_truncate_of_a_read_only_file_is_refused
    ef_preallocate_reserves_room_and_keeps_the_size_where_asked
    ef_reopen_rotates_a_log_without_losing_a_line
    ef_recover_of_a_file_that_has_not_failed_is_einval
    progress_never_goes_back_and_durable_is_not_above_written_nor_that_above_accepted
    the_durability_of_a_file_is_kept_without_being_asked
    a_seek_that_succeeds_tells_of_the_read_that_was_refused_before_it
}

program! { whole:
    an_atomic_file_appears_whole_with_its_close
    an_atomic_file_replaces_what_is_there_in_one_step
    ef_abort_leaves_nothing_of_an_atomic_file
    an_atomic_file_with_o_excl_fails_where_something_is
    an_atomic_file_that_nobody_closes_leaves_nothing_at_the_end
    options_that_make_no_sense_are_einval
    the_mode_of_the_options_is_less_the_umask
    the_order_of_each_thread_is_kept_where_that_was_asked
    a_flush_interval_of_its_own
    nothing_has_failed_is_enodata
    the_last_failure_is_told_in_words
    eagain_is_no_failure
    each_thread_has_a_last_failure_of_its_own
    the_log_function_hears_of_files_that_lose_bytes
    a_log_function_may_make_calls_and_take_itself_away
}
