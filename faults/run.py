"""Make things fail, and look at what is left: `python faults/run.py ID...|--all [--moments N] [--list]`.

Each case gets a fresh folder and real processes, and reads the result in a fresh process. Prints `ID ok` or
`ID FAILED: why` for each, and one closing figure; the exit code is 1 when a case failed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import traceback
from pathlib import Path

# This folder's modules are imported as a package: none of them may stand in for one of the standard library.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from faults import (  # noqa: E402
    checkpoints,
    disks,
    distributed,
    exits,
    files,
    kills,
    masking,
    recording,
    resumes,
    starts,
    store,
    sweep,
    values,
    web,
)
from faults._harness import Case, CaseError, Place  # noqa: E402

CASES = (
    Case("kill-at-start", "kill -9 at moments spread over the start", kills.kill_at_start),
    Case("kill-at-end", "kill -9 at moments spread over the end", kills.kill_at_end),
    Case("kill-in-start-operations", "kill -9 before file operations of the start", kills.kill_at_operations_of_start),
    Case("kill-in-end-operations", "kill -9 before file operations of the end", kills.kill_at_operations_of_end),
    Case("sigterm-at-start", "SIGTERM at moments spread over the start", kills.terminate_at_start),
    Case("sigterm-at-end", "SIGTERM at moments spread over the end", kills.terminate_at_end),
    Case("ctrl-c-at-start", "Ctrl-C at moments spread over the start", kills.interrupt_at_start),
    Case("ctrl-c-at-end", "Ctrl-C at moments spread over the end", kills.interrupt_at_end),
    Case("simultaneous-starts", "32 starts at one moment", starts.simultaneous),
    Case("equal-names", "32 starts at one moment with clock and suffix forced equal", starts.equal_names),
    Case("odd-values", "odd parameter values come back, or are marked", values.odd_values),
    Case("params-file-code", "a params file that tries to run code", files.code_in_params_file),
    Case("recorded-code", "a run directory that tries to run code in its readers", files.code_in_recorded_parameters),
    Case("params-file-bomb", "a params file that would grow without bound", files.yaml_bomb),
    Case("path-traversal", "experiment names that lead out of the output folder", files.path_traversal),
    Case("symlinked-folder", "a link in place of the experiment's folder", files.symlinked_experiment),
    Case("run-names", "names of runs that lead elsewhere", files.run_names_that_lead_out),
    Case("damaged-documents", "each file of a run damaged in seven ways", files.damaged_documents),
    Case("secrets", "secrets in no byte of a completed run", masking.secrets),
    Case("secrets-failed", "secrets in no byte of a failed run", masking.secrets_of_a_failed_run),
    Case("full-disk", "a full disk at start", disks.full_disk),
    Case("full-inodes", "a disk without free inodes at start", disks.full_of_inodes),
    Case("read-only", "a read-only output folder", disks.read_only_folder),
    Case("forbidden", "an output folder without permission", disks.forbidden_folder),
    Case("output-is-file", "an output folder that is a file", disks.output_dir_is_a_file),
    Case("killed-reader", "kill -9 of readers that make or update the index of runs", store.killed_reader),
    Case("readers-at-once", "several readers of one folder at one moment", store.readers_at_once),
    Case("damaged-index", "the index of runs damaged in many places", store.damaged_index),
    Case("record-kill-100", "kill -9 while 100 numbers a second are recorded", recording.kill_at_100_a_second),
    Case("record-kill-1", "kill -9 while a number a second is recorded", recording.kill_at_1_a_second),
    Case("record-kill-fast", "kill -9 while numbers are recorded at full speed", recording.kill_at_full_speed),
    Case("record-kill-flushed", "kill -9 after flush() has returned", recording.kill_after_flush),
    Case("record-8-writers", "eight ranks record into one run at once", recording.eight_writers),
    Case("record-full-disk", "the disk is full for a while", recording.disk_full_for_a_while),
    Case("record-folder-removed", "the run's folder is removed and made again", recording.folder_removed),
    Case("record-read-only", "the run's folder is read-only for a while", recording.folder_read_only),
    Case("record-cut", "the series cut at each byte of its last three records", recording.cut_anywhere),
    Case("record-flipped", "200 changed bytes in the series", recording.flipped_bytes),
    Case("record-odd-values", "odd numbers and tags come back", recording.odd_values_and_tags),
    Case("exit-return", "the main function returns", exits.returned),
    Case("exit-ctrl-c", "Ctrl-C", exits.interrupt),
    Case("exit-ctrl-c-computing", "Ctrl-C in a busy loop", exits.interrupt_while_computing),
    Case("exit-ctrl-c-twice", "Ctrl-C, and again at once", exits.interrupt_twice),
    Case("exit-keyboard-interrupt", "KeyboardInterrupt raised by the program", exits.keyboard_interrupt_raised),
    Case("exit-sigterm", "SIGTERM", exits.terminate),
    Case("exit-sigterm-excepts", "SIGTERM in a loop that catches Exception", exits.terminate_among_excepts),
    Case("exit-sighup", "SIGHUP", exits.hang_up),
    Case("exit-kill", "kill -9", exits.kill),
    Case("exit-sys-exit-0", "sys.exit(0)", exits.sys_exit_0),
    Case("exit-sys-exit-none", "sys.exit()", exits.sys_exit_none),
    Case("exit-sys-exit-3", "sys.exit(3)", exits.sys_exit_3),
    Case("exit-sys-exit-text", "sys.exit('text')", exits.sys_exit_text),
    Case("exit-exception", "an exception", exits.exception),
    Case("exit-os-exit", "os._exit", exits.os_exit),
    Case("exit-segfault", "a crash in C code", exits.segfault),
    Case("exit-thread-left", "a thread that outlives the main function", exits.thread_left),
    Case("checkpoint-killed", "kill -9 at moments of saving and pruning", checkpoints.killed_while_saving),
    Case("checkpoint-damaged", "the newest checkpoint cut, flipped, emptied, gone", checkpoints.damaged),
    Case("checkpoint-full-disk", "a disk that is full in a save", checkpoints.full_disk),
    Case("checkpoint-two-resumers", "two processes go on with one run", checkpoints.double_resume),
    Case("checkpoint-numbers", "kill -9 at random steps: the series equal those of a whole run", resumes.same_numbers),
    Case("checkpoint-code", "a checkpoint that carries code", checkpoints.pickle_bomb),
    Case("ranks-ctrl-c-twice", "Ctrl-C twice to the parent of processes", distributed.interrupt_parent_twice),
    Case("ranks-ctrl-c-group", "Ctrl-C twice to all processes", distributed.interrupt_all_twice),
    Case("ranks-sigterm", "SIGTERM to processes without a checkpoint", distributed.terminate),
    Case("ranks-sigterm-saved", "SIGTERM to processes with a checkpoint", distributed.terminate_saved),
    Case("ranks-sigterm-grace", "SIGTERM to processes that do not come to a step", distributed.terminate_past_grace),
    Case("ranks-sigterm-ignoring", "SIGTERM to processes that ignore it", distributed.terminate_ignoring),
    Case("ranks-sighup", "SIGHUP to the parent of processes", distributed.hang_up),
    Case("ranks-sighup-saved", "SIGHUP to processes with a checkpoint, inside of a step", distributed.hang_up_saved),
    Case("ranks-sigusr1", "SIGUSR1 to the parent of processes", distributed.user_signal),
    Case("ranks-sigusr2", "SIGUSR2 to the parent of processes", distributed.user_signal_2),
    Case("ranks-sigusr1-grace", "SIGUSR1, processes do not come to a step", distributed.user_signal_past_grace),
    Case("ranks-max-time", "processes at their time limit", distributed.time_is_up),
    Case("ranks-max-time-grace", "the time limit, processes do not come to a step", distributed.time_is_up_past_grace),
    Case("ranks-kill", "kill -9 of the parent of processes", distributed.kill_parent),
    Case("ranks-killed", "one of the processes killed", distributed.rank_killed),
    Case("ranks-raising", "one of the processes raises", distributed.rank_raises),
    Case("ranks-exiting", "one of the processes calls sys.exit(3)", distributed.rank_exits),
    Case("ranks-ignoring", "processes that ignore signals, Ctrl-C twice", distributed.ignoring),
    Case("ranks-ignoring-kill", "processes that ignore signals, kill -9 of the parent", distributed.ignoring_kill),
    Case("ranks-workers", "processes with loader workers, Ctrl-C twice", distributed.workers),
    Case("ranks-workers-sigterm", "processes with loader workers, SIGTERM", distributed.workers_terminate),
    Case("ranks-workers-kill", "processes with loader workers, kill -9 of the parent", distributed.workers_kill),
    Case("sweep-coordinator-killed", "kill -9 of a sweep's coordinator at moments, and again", sweep.kill_coordinator),
    Case("sweep-ctrl-c-once", "one Ctrl-C to a sweep", sweep.interrupt_once),
    Case("sweep-ctrl-c-twice", "two Ctrl-C to a sweep", sweep.interrupt_twice),
    Case("sweep-ctrl-c-thrice", "three Ctrl-C to a sweep whose runs ignore SIGTERM", sweep.interrupt_thrice),
    Case("sweep-hang", "a run of a sweep that hangs past its timeout and ignores SIGTERM", sweep.hang),
    Case("sweep-devices", "two sweeps at once on the same devices", sweep.share_devices),
    Case("sweep-disk-full", "a disk that is full in mid sweep", sweep.full_disk),
    Case("sweep-sigterm", "SIGTERM to a sweep", sweep.terminate),
    Case("sweep-run-killed", "kill -9 of one run of a sweep", sweep.kill_run),
    Case("web-strangers", "every route of the page without token, by other hosts and origins", web.strangers),
    Case("web-paths", "names and links that lead out of a run's folder", web.paths),
    Case("web-markup", "scripts in every text of a run, opened in a browser", web.markup),
    Case("web-damaged", "each file of a run damaged while the page is open", web.damaged),
    Case("web-signals", "signals to the server with pages open", web.signals),
)


def check(case: Case, moments: int, *, keep: bool) -> str | None:
    """Run a case in a fresh folder; return why it failed, or None."""
    place = Place(Path(tempfile.mkdtemp(prefix=f"fault-{case.id}-")), moments)
    try:
        case.check(place)
    except CaseError as failure:
        return " ".join(str(failure).split())
    except Exception as error:  # a mistake in the case itself must not hide the other cases
        frame = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} in {frame.name}: {' '.join(str(error).split())}"
    finally:
        place.stop_all()
        if keep:
            print(f"{case.id} left {place.folder}")
        else:
            shutil.rmtree(place.folder, ignore_errors=True)
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("ids", nargs="*", metavar="ID", help="cases to run")
    parser.add_argument("--all", action="store_true", help="run all cases")
    parser.add_argument("--moments", type=int, default=20, help="moments of each kill case (default: 20)")
    parser.add_argument("--list", action="store_true", help="list the cases")
    parser.add_argument("--keep", action="store_true", help="keep the folders of the cases")
    args = parser.parse_args()
    if args.list:
        for case in CASES:
            print(f"{case.id:26}{case.what}")
        return 0
    by_id = {case.id: case for case in CASES}
    unknown = [name for name in args.ids if name not in by_id]
    if unknown or args.moments < 1 or not (args.all or args.ids):
        parser.error(f"no such case: {', '.join(unknown)}" if unknown else "say --all, or IDs of --list")
    # This tree's package, whichever one is installed, and nothing else from the shell.
    os.environ["PYTHONPATH"] = str(Path(sys.path[0]) / "src")
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # by nohup: programs would inherit it, and never hang up
        signal.signal(signal.SIGHUP, lambda *_: None)
    chosen = CASES if args.all else [by_id[name] for name in args.ids]
    failed = 0
    for case in chosen:
        why = check(case, args.moments, keep=args.keep)
        failed += why is not None
        print(f"{case.id} ok" if why is None else f"{case.id} FAILED: {why}", flush=True)
    print(f"{len(chosen) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
