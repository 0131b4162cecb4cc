//! The conformance suite: every shell does what every other does, on a real PostgreSQL and a real
//! HTTP server, as real processes.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod changes;
mod columns;
mod deaths;
mod drain;
mod interface;
mod troubles;

use tests::stage;

/// Runs each case against each shell.
macro_rules! conformance {
    ($($module:ident::$case:ident,)*) => {
        mod worker {
            $(#[test] fn $case() { super::$module::$case("worker"); })*
        }
        mod worker_blocking {
            $(#[test] fn $case() { super::$module::$case("worker-blocking"); })*
        }
        mod worker_smol {
            $(#[test] fn $case() { super::$module::$case("worker-smol"); })*
        }
    };
}

conformance! {
    changes::a_changed_paragraph_sends_only_what_changed,
    changes::a_column_that_is_not_embedded_queues_nothing_and_sends_nothing,
    changes::a_new_vectorizer_is_picked_up_without_a_restart,
    changes::a_row_deleted_in_mid_batch_leaves_no_chunk,
    changes::an_idle_worker_is_woken_by_a_change,
    changes::applications_in_strict_isolation_meet_no_failure,
    changes::truncate_empties_the_store,
    columns::a_column_that_the_application_fills_is_left_alone,
    columns::a_row_held_for_long_stops_no_other_vectorizer,
    columns::a_row_that_the_application_holds_is_written_later,
    columns::a_trigger_on_the_source_makes_no_loop,
    columns::vectors_in_a_column_follow_their_rows,
    deaths::a_killed_worker_loses_nothing,
    deaths::a_stopped_worker_says_goodbye_and_gives_back_what_it_holds,
    deaths::a_worker_survives_the_end_of_its_sessions,
    drain::a_role_that_may_only_run_the_worker_is_enough,
    drain::cranfield_as_the_first_users_run_it,
    drain::every_row_is_embedded_with_its_own_vector,
    drain::openai_gets_the_key_and_its_base64_is_read,
    drain::types_and_names_of_keys_do_not_matter,
    drain::what_is_too_long_for_openai_is_cut_and_told_and_stored_whole,
    interface::a_missing_key_is_named,
    interface::a_schema_that_is_not_installed_is_named,
    interface::no_vectorizers_is_said,
    interface::unknown_vectorizers_are_said,
    interface::usage_errors_end_with_2,
    interface::progress_is_tracked,
    troubles::a_poison_row_fails_alone,
    troubles::a_text_that_makes_the_server_fail_fails_alone,
    troubles::a_wrong_dimension_is_one_error,
    troubles::bad_parameters_are_an_error_of_the_provider,
    troubles::errors_of_the_provider_burn_nothing,
}

/// The example of a shell installs nothing, so this is for the two workers that are shipped.
#[test]
fn install_puts_the_schema_in_and_runs_again() {
    for shell in ["worker", "worker-blocking"] {
        interface::install_puts_the_schema_in_and_runs_again(shell);
    }
}
