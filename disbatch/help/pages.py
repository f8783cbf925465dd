"""What the pages of each program say beside its options: examples, files, environment, exit codes.

Words only; which options there are comes from the parsers.
"""

from dataclasses import dataclass

Entries = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Page:
    summary: str  # what follows the dash in NAME
    aliases: tuple[str, ...] = ()  # further names of the command
    description: tuple[str, ...] = ()
    tables: tuple[tuple[str, Entries], ...] = ()
    examples: Entries = ()
    see_also: tuple[str, ...] = ()


_EXIT_CODES: Entries = (
    ("0", "disBatch did what it was asked to; single tasks may have failed"),
    ("1", "tasks failed, and -e, -f or a BARRIER CHECK makes that count"),
    ("2", "the options, the task file or a status file cannot be accepted; nothing was run"),
    (
        "3",
        "disBatch could not finish: no engine is left, a feeding program failed, the task file changed while it was read, "
        "the status file cannot be written or lost lines",
    ),
    ("130, 143", "stopped by SIGINT (Ctrl-C), by SIGTERM"),
)
_FILES: Entries = (
    ("PREFIX_status.txt", "a line for each task that has finished; what -r reads"),
    ("PREFIX_usage.txt", "CPU time and memory of each task; not with --no-usage"),
    ("PREFIX_dbUtil.sh", "adds machines to the run, shows it, or steers it; see disbatch-ctl"),
    ("PREFIX_driver.txt", "log of the process that hands out tasks"),
    ("PREFIX_NODE_engine.txt", "log of the process that runs them on one node"),
    ("PREFIX_kvsinfo.txt", "where the run is reached, with its secret; removed at the end"),
    ("PREFIX_url", "with -w, address of the web page, which opens once; a fresh one takes its place"),
    ("PREFIX_page.html", "with -w, the last picture of the web page, once the run is over"),
    ("PREFIX_webtoken", "with -w, the secret for programs that read the page's figures; removed at the end"),
)
_ENVIRONMENT: Entries = (
    ("DISBATCH_SSH_NODELIST", "HOST:COUNT,... as with -s, where -s is not given and there is no Slurm job"),
    ("DISBATCH_SSH_JOBID", "id of the run, instead of one made from date and time"),
    ("DISBATCH_ROOT", "folder with the packages disbatch and kvsstcp, for a copy of the program elsewhere"),
    ("DISBATCH_SLURM_SRUN_OPTIONS_FILE", "file of NAME=VALUE lines for the environment of srun"),
    (
        "DISBATCH_SMTP_HOST, DISBATCH_SMTP_PORT, DISBATCH_SMTP_TLS",
        "mail server (localhost), its port (25), and no, starttls or tls",
    ),
    (
        "DISBATCH_SMTP_USER, DISBATCH_SMTP_PASSWORD_FILE, DISBATCH_SMTP_PASSWORD",
        "login there; the password is better put into a file",
    ),
    ("DISBATCH_MAIL_FROM, DISBATCH_MAIL_INTERVAL", "sender of mails; seconds between two of them (60)"),
    (
        "KVSSTCP_INFO, KVSSTCP_HOST, KVSSTCP_PORT",
        "the server for --kvsserver and --taskserver without a value",
    ),
)
_TASK_ENVIRONMENT: Entries = (
    ("DISBATCH_TASKID", "number of the task, from 0"),
    ("DISBATCH_STREAM_INDEX", "its line in the task file, from 1"),
    ("DISBATCH_REPEAT_INDEX", "its index in a REPEAT, else -1"),
    ("DISBATCH_..._ZP", "each of these three, padded with zeros to six characters"),
    ("DISBATCH_JOBID, DISBATCH_NAMETASKS", "id of the run, name of the task file"),
    (
        "DISBATCH_ENGINE_RANK, DISBATCH_CYLINDER_RANK",
        "number of the engine, and of the slot within it, from 0",
    ),
    ("DISBATCH_CORES_PER_TASK", "cores that the task may use"),
)
_DIRECTIVES: Entries = (
    ("#DISBATCH PREFIX TEXT", "put in front of each later command"),
    ("#DISBATCH SUFFIX TEXT", "put behind each later command"),
    (
        "#DISBATCH REPEAT N [start S] [step T] [COMMAND]",
        "N tasks with DISBATCH_REPEAT_INDEX = S, S+T, S+2T, ...",
    ),
    (
        "#DISBATCH BARRIER [CHECK] [KEY]",
        "later tasks wait for all earlier ones; with CHECK, and if one failed, the run ends",
    ),
    (
        "#DISBATCH PERENGINE START|STOP COMMAND",
        "run on each engine before its first task, after its last one",
    ),
)

PAGES: dict[str, Page] = {
    "disBatch": Page(
        summary="run a long list of shell commands, one a line",
        aliases=("disbatch", "disBatch.py"),
        description=(
            "Each line of TASKFILE is a command for a bash of its own; lines that begin with # are comments. As many run "
            "at a time as the cores allow that -s, or a Slurm job, provides. What became of each one is added to a status "
            "file, from which a later run can go on.",
        ),
        tables=(
            ("Directives", _DIRECTIVES),
            ("Environment of a task", _TASK_ENVIRONMENT),
            ("Environment", _ENVIRONMENT),
            ("Files", _FILES),
            ("Exit status", _EXIT_CODES),
        ),
        examples=(
            ("disBatch -s localhost:4 Tasks", "Run the commands in Tasks on this machine, four at a time:"),
            ("disBatch -s localhost:4,otherhost:8 -p run1 Tasks", "The same on two hosts, with files named run1_...:"),
            ("disBatch -s localhost:4 -r run1_status.txt -R Tasks", "Go on where that run ended, failed tasks included:"),
            ("sbatch -n 20 --ntasks-per-node 5 disBatch Tasks", "In a Slurm job, twenty at a time, five on each node:"),
        ),
        see_also=("disbatch-ctl", "disbatch-report", "bash", "ssh", "sbatch", "parallel"),
    ),
    "disbatch-ctl": Page(
        summary="add machines to a disBatch run, show it, or steer it",
        description=(
            "RUN is the prefix of the run, as in PREFIX_status.txt, or any file of it. PREFIX_dbUtil.sh, which every run writes, "
            "is the same program for that run, and needs no RUN.",
        ),
        tables=(
            (
                "Exit status",
                (
                    ("0", "the machines have done what they could, the order was taken, or the picture was shown"),
                    ("2", "the options cannot be accepted, or there is nothing of that name to stop"),
                    ("3", "the run, or the machines, could not be reached"),
                ),
            ),
        ),
        examples=(
            ("disbatch-ctl run1 -s localhost:4,otherhost:8", "Add cores of this machine and of another one to the run run1:"),
            ("sbatch -N 2 --ntasks-per-node 4 run1_dbUtil.sh", "Add a Slurm job:"),
            ("disbatch-ctl run1 --mon", "Watch it:"),
            ("disbatch-ctl run1 --stop-context NIGHT", "Let the tasks of a context finish, then end it:"),
        ),
        see_also=("disbatch", "disbatch-report"),
    ),
    "disbatch-report": Page(
        summary="show what a disBatch run was like",
        tables=(
            (
                "Exit status",
                (
                    ("0", "the report was written"),
                    ("2", "a file cannot be read, or is no status file"),
                    ("3", "the page cannot be written"),
                ),
            ),
        ),
        examples=(
            ("disbatch-report run1_status.txt", "Show the figures of a run:"),
            ("disbatch-report --html run1.html run1_status.txt", "Write a page with charts as well:"),
        ),
        see_also=("disbatch", "disbatch-ctl"),
    ),
}  # fmt: skip
