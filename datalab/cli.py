"""The command line, ``python -m datalab`` or, where it is installed, ``datalab``."""

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from datalab.console import as_called, console, say
from datalab.environment import merge, search_path
from datalab.errors import DatalabError
from datalab.lab import AVAILABLE, STORE, STORE_VARIABLE, Datalab, default_folder
from datalab.process import one_look
from datalab.servers import SERVERS, of_role
from datalab.state import LAPTOP, SERVICE, State
from datalab.temporary import temporary

NOTHING_RUNS = 3
NOT_EXECUTABLE = 126
NOT_FOUND = 127


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns
    -------
    int
        Exit code: 0; 1 for a situation that the message explains; 2 for a wrong command
        line; 3 where nothing runs; of ``run``, the code of the command.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):  # to clear up as after a Ctrl-C
        _handle(number, _end)
    try:
        args = _parser().parse_args(arguments)
        return int(args.act(args))
    except DatalabError as error:
        console().print("[bold red]datalab:[/] ", end="")
        say(error.problem)
        say(error.next_step)
        return 1
    except OSError as error:  # of the machine: a full disk, a file of another user
        say(f"datalab: {error}")
        return 1
    except KeyboardInterrupt:
        say("datalab: interrupted")
        return 128 + signal.SIGINT


def _handle(number: signal.Signals, handler: Callable[[int, FrameType | None], None]) -> None:
    if signal.getsignal(number) is not signal.SIG_IGN:  # as after nohup
        signal.signal(number, handler)


def _end(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=as_called("python -m datalab"),
        description="The SSP Cloud on one machine: S3 over HTTPS, a 7-day token, PostgreSQL.",
    )
    parser.add_argument(
        "--dir",
        type=Path,
        default=default_folder(),
        help="the datalab's folder (default: $DATALAB_DIR, else .datalab beside the course; of "
        "the installed command, .datalab in the present folder)",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    command = commands.add_parser("up", help="start the services, or say that they run")
    _offer_roles(command)
    _offer_servers(command)
    _offer_stores(command, "the S3 store of a new datalab, which keeps it")
    command.set_defaults(act=_up)
    command = commands.add_parser("down", help="stop the services; the data stays")
    command.set_defaults(act=_down)
    command = commands.add_parser("status", help="what runs and where; exit 3 if nothing does")
    command.set_defaults(act=_status)
    command = commands.add_parser("env", help="the environment of a service, for a shell")
    command.add_argument("--json", action="store_true", help="for programs; null: to be unset")
    _offer_roles(command)
    _offer_servers(command)
    command.set_defaults(act=_env)
    command = commands.add_parser(
        "run",
        help="run a command in that environment",
        usage=as_called(
            "python -m datalab run [--as ROLE] [--with SERVER] [--store STORE] -- CMD [ARG ...]"
        ),
        description="Run a command in the environment of a service: on the running datalab "
        "or, if none runs, on one of its own that is removed after.",
    )
    _offer_roles(command)
    _offer_servers(command)
    _offer_stores(command, "the S3 store; one that runs on another is left alone")
    command.add_argument("command", nargs=argparse.REMAINDER, metavar="CMD")
    command.set_defaults(act=_run, parser=command)
    command = commands.add_parser("reset", help="back to the samples; deletes what was stored")
    command.add_argument("--yes", action="store_true", help="do not ask")
    command.set_defaults(act=_reset)
    return parser


def _offer_roles(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--as",
        dest="role",
        choices=[LAPTOP, SERVICE],
        default="",
        help="whose variables and programs: all that the datalab has (laptop), or exactly what "
        "a service of the SSP Cloud has (service); `up` notes it for later commands",
    )


def _offer_servers(command: argparse.ArgumentParser) -> None:
    optional = [key for key, server in SERVERS.items() if server.optional]
    command.add_argument(
        "--with",
        dest="servers",
        action="append",
        choices=[*dict.fromkeys([*optional, AVAILABLE, *_of_a_service()])],
        default=[],
        help=f"{', '.join(optional)}: an optional server; {AVAILABLE}: those that are on this "
        f"machine; {', '.join(_of_a_service())}: as a service, with the variables of one more",
    )


def _offer_stores(command: argparse.ArgumentParser, text: str) -> None:
    default = f"default: ${STORE_VARIABLE}, else the one with the least effort"
    command.add_argument("--store", choices=of_role(STORE), default="", help=f"{text} ({default})")


def _of_a_service() -> dict[str, str]:
    """What a user of the SSP Cloud may have as a service of its own: keys, by name."""
    return {server.name.lower(): key for key, server in SERVERS.items() if server.of_a_service}


def _also(args: argparse.Namespace) -> list[str]:
    """Keys of the optional servers that were asked for."""
    optional = [key for key, server in SERVERS.items() if server.optional]
    return [name for name in (*optional, AVAILABLE) if name in args.servers]


def _role(args: argparse.Namespace) -> dict[str, Any]:
    services = {name: key for name, key in _of_a_service().items() if name in args.servers}
    there = [name for name, key in services.items() if not SERVERS[key].optional]
    if there and args.role == LAPTOP:
        raise DatalabError(
            f"A laptop has the datalab's {SERVERS[services[there[0]]].name} in any case.",
            f"Leave out --with {there[0]}, or ask for a service: --as service --with {there[0]}",
        )
    role = args.role or (SERVICE if there else "")
    return {"role": role, "services": [*services.values()]}


def _up(args: argparse.Namespace) -> int:
    lab = Datalab(args.dir)
    started = lab.up(_also(args), **_role(args), store=args.store)
    say("The datalab is ready." if started else "The datalab runs already.")
    _print_addresses(lab, dict.fromkeys(SERVERS, True))
    return 0


def _down(args: argparse.Namespace) -> int:
    stopped = Datalab(args.dir).down()
    say("The datalab is stopped; its data stays." if stopped else "No datalab was running.")
    return 0


def _status(args: argparse.Namespace) -> int:
    lab = Datalab(args.dir)
    with one_look():
        running = lab.running()
        lives = lab.lives()
    if not lives:
        print(f"No datalab runs in {lab.folder}.")
        return NOTHING_RUNS
    _print_addresses(lab, running)
    state = lab.state()
    if not all(running.values()) or not (state and state.provisioned):
        say("Not all of it runs. Repair it with: python -m datalab up")
        return 1
    return 0


def _print_addresses(lab: Datalab, running: Mapping[str, bool]) -> None:
    state = lab.state()
    assert state is not None
    rows: dict[str, str] = {}
    for server in lab.servers():
        shown = server.shown()
        rows |= shown if running[server.key] else dict.fromkeys(shown, "does not run")
    if state.role == SERVICE:
        rows["as"] = _role_shown(state)
    for name, value in {**rows, "folder": str(lab.folder)}.items():
        print(f"{name:<12} {value}")


def _role_shown(state: State) -> str:
    names = [SERVERS[key].name for key in state.services]
    return "a service of the SSP Cloud" + (f", with {' and '.join(names)}" if names else "")


def _env(args: argparse.Namespace) -> int:
    values = Datalab(args.dir).environment(**_role(args))
    if args.json:
        print(json.dumps(values, indent=2))
        return 0
    for name, value in values.items():
        print(f"unset {name}" if value is None else f"export {name}={shlex.quote(value)}")
    return 0


def _run(args: argparse.Namespace) -> int:
    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    if not command:
        usage = as_called("python -m datalab run -- CMD [ARG ...]")
        args.parser.error(f"name the command to run: {usage}")
    lab = Datalab(args.dir)
    running = lab.running()
    if any(running.values()) and args.store not in ("", lab.store().key):
        say(f"The datalab in {lab.folder} has another store: this command gets one of its own.")
    elif any(running.values()):
        for key in {key for key in args.servers if key in SERVERS} - running.keys():
            name = SERVERS[key].name
            raise DatalabError(
                f"The datalab in {lab.folder} runs without {name}.",
                f"Add it with: python -m datalab up --with {key}",
            )
        return _run_on(lab, command, **_role(args))
    if command[0] != "aws":  # which comes with the datalab
        _program(command[0], search_path(lab.folder))  # before seconds are spent on a start
    with temporary(_also(args), args.store) as lab:
        return _run_on(lab, command, **_role(args))


def _run_on(lab: Datalab, command: list[str], role: str, services: Sequence[str]) -> int:
    environment = merge(lab.environment(role, services), os.environ)
    program = _program(command[0], environment["PATH"])
    process: subprocess.Popen[bytes] | None = None
    early: list[int] = []

    # Signals that come for this process are for the command; Ctrl-C on a terminal
    # reaches the command by itself, as both are of the terminal's foreground group.
    def pass_on(number: int, _: FrameType | None) -> None:
        if process is None:
            early.append(number)
        elif not (number in (signal.SIGINT, signal.SIGQUIT) and _in_foreground()):
            process.send_signal(number)

    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        _handle(name, pass_on)
    try:
        process = subprocess.Popen([program, *command[1:]], env=environment)
    except OSError as error:  # a file of another system, a script without a first line
        say(f"datalab: {command[0]}: {error.strerror}")
        return NOT_EXECUTABLE
    for number in early:
        process.send_signal(number)
    code = process.wait()
    return code if code >= 0 else 128 - code


def _in_foreground() -> bool:
    try:
        with Path("/dev/tty").open("rb") as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False


def _program(name: str, path: str) -> str:
    found = shutil.which(name, path=path)
    if found is None:
        problem = f"datalab: {name}: command not found"
        code = NOT_FOUND
        if os.sep in name and Path(name).exists():
            problem, code = f"datalab: {name}: not a program that can be run", NOT_EXECUTABLE
        say(problem)
        raise SystemExit(code)
    return found


def _reset(args: argparse.Namespace) -> int:
    lab = Datalab(args.dir)
    if lab.state() is None:
        say(f"There is no datalab in {lab.folder}; nothing to reset.")
        return 0
    if not args.yes:
        if not sys.stdin.isatty():
            raise DatalabError(
                f"This would delete all that was stored in {lab.folder}.",
                "To go ahead without being asked: python -m datalab reset --yes",
            )
        if input(f"Delete all that was stored in {lab.folder}? [y/N] ").lower() not in ("y", "yes"):
            say("Nothing was deleted.")
            return 1
    ran = any(lab.running().values())
    lab.reset()
    if ran:
        lab.up()
    say("The datalab is back to its samples.")
    return 0
