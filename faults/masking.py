"""Secrets: not in any byte of the run directory, wherever they came in and whatever is done with them."""

from __future__ import annotations

import subprocess

from faults._harness import Place, expect, last_line, run_dirs

# Each fragment stands inside a secret; it contains nothing that JSON or repr would write otherwise.
DECLARED = "dEclared-5ecret-fragment"
BY_NAME = "bYname-5ecret-fragment"
QUOTED = "qUoted-5ecret-fragment"
DEFAULT = "dEfault-5ecret-fragment"
IN_FILE = "iNfile-5ecret-fragment"
IN_ENVIRONMENT = "eNvironment-5ecret-fragment"
URL_PASSWORD = "uRl-5ecret-fragment"
REMOTE_PASSWORD = "rEmote-5ecret-fragment"
DOT_ENV = "dOtenv-5ecret-fragment"
# Values of a known shape, put together here so that no scanner takes this file for a leak.
OPENAI = "sk-" + "proj-Abcdefghijklmnop0123456789ABCDEFGHIJ"
GITHUB = "ghp_" + "Abcdefghijklmnopqrstuvwxyz0123456789"
HUGGING_FACE = "hf_" + "AbcdefghijklmnopqrstuvwxyzABCDEFGH"
AWS = "AKIA" + "IOSFODNN7ABCDEFG"
PEM_BODY = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ"
PEM = f"-----BEGIN PRIVATE KEY-----\n{PEM_BODY}\n{PEM_BODY[::-1]}\n-----END PRIVATE KEY-----\n"

FRAGMENTS = {
    "a parameter declared secret": DECLARED,
    "a parameter named db_password": BY_NAME,
    "a secret with quotes and newlines": QUOTED,
    "the default of a secret parameter": DEFAULT,
    "a secret from a params file": IN_FILE,
    "a secret from the environment": IN_ENVIRONMENT,
    "the password of a URL": URL_PASSWORD,
    "the password of the git remote": REMOTE_PASSWORD,
    "a secret of .env": DOT_ENV,
    "an sk- key": OPENAI,
    "a ghp_ token": GITHUB,
    "an hf_ token": HUGGING_FACE,
    "an AKIA key": AWS,
    "the body of a PEM key": PEM_BODY,
    "the second line of a PEM key": PEM_BODY[::-1],
}

PROGRAM = """
    import logging, os, sys, warnings
    import pystematic

    @pystematic.parameter(name="declared", type=str, secret=True)
    @pystematic.parameter(name="with_default", type=str, secret=True, default="DEFAULT")
    @pystematic.parameter(name="quoted", type=str, secret=True)
    @pystematic.parameter(name="db_password", type=str)
    @pystematic.parameter(name="api_key", type=str)
    @pystematic.parameter(name="auth_token", type=str, envvar="MY_TOKEN")
    @pystematic.parameter(name="url", type=str)
    @pystematic.parameter(name="plain_text", type=str, default="nothing")
    @pystematic.parameter(name="pem", type=str)
    @pystematic.parameter(name="some_list", type=list[str], default=[])
    @pystematic.parameter(name="max_tokens", type=int, default=4711)
    @pystematic.parameter(name="fail", type=bool, default=False)
    @pystematic.experiment
    def train(parameters, context):
        values = [str(value) for value in parameters.values()]
        for value in values:
            print("printed", value)
            print(repr(value), file=sys.stderr)
            logging.getLogger("user").warning("logged %s", value)
            sys.stdout.write("halves: " + value[: len(value) // 2])
            sys.stdout.flush()
            sys.stdout.write(value[len(value) // 2 :] + "\\n")
        warnings.warn("warned of " + parameters["declared"])
        print(dict(parameters), parameters, sys.argv)
        if parameters["fail"]:
            raise ValueError(" ".join(values), dict(parameters))
""".replace("DEFAULT", DEFAULT)

MAIN = """
    if __name__ == "__main__":
        pystematic.global_entrypoint()
"""


def secrets(place: Place) -> None:
    _check(place.sub("completed"), fail=False)


def secrets_of_a_failed_run(place: Place) -> None:
    _check(place.sub("failed"), fail=True)


def _check(place: Place, *, fail: bool) -> None:
    program = place.write("prog.py", PROGRAM + MAIN)
    place.write(".gitignore", "/output/\n/cache/\n.process-*\n")
    git = ["git", "-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
    remote = f"https://someone:{REMOTE_PASSWORD}@example.org/repository.git"
    for args in (["init"], ["remote", "add", "origin", remote], ["add", "."], ["commit", "-m", "first"]):
        subprocess.run([*git, *args], cwd=place.folder, check=True, capture_output=True, env=place.env())
    place.write("prog.py", PROGRAM + f'    # an uncommitted line: {GITHUB}\n    KEY = "{OPENAI}"\n' + MAIN)
    place.write("untracked.py", f'TOKEN = "{HUGGING_FACE}"\n')
    for name in (".env", ".env.local", "id_rsa", "server.pem"):
        place.write(name, f"PASSWORD={DOT_ENV}\n{PEM}")
    params_file = place.write("params.yaml", f"api_key: {IN_FILE}\n")

    argv = ["train", "--declared", DECLARED, "--db-password", BY_NAME, f'--quoted=it\'s "a"\n\\{QUOTED}\tü']
    argv += ["--params-file", str(params_file), "--url", f"https://someone:{URL_PASSWORD}@example.org/data"]
    argv += ["--plain-text", f"see {AWS} and {GITHUB}", "--pem", PEM, "--some-list", OPENAI, HUGGING_FACE]
    argv += ["--note", f"tried with {GITHUB}", *(["--fail"] if fail else [])]
    ended = place.run(program, *argv, MY_TOKEN=IN_ENVIRONMENT, OPENAI_API_KEY=OPENAI, PYTHONFAULTHANDLER="1")
    wanted = 1 if fail else 0
    expect(ended.code == wanted, f"exit code {ended.code}, not {wanted}: {last_line(ended.stderr)}")
    expect(DECLARED in ended.stdout, "the program's own output was changed on the console")

    [run_dir] = run_dirs(place.output_dir)
    leaks = []
    for path in sorted(run_dir.rglob("*")):
        if path.is_file():
            content = path.read_bytes().decode("utf-8", "replace")
            leaks += [f"{what} in {path.name}" for what, fragment in FRAGMENTS.items() if fragment in content]
    expect(not leaks, f"{len(leaks)} leaks: {'; '.join(leaks)}")
    expect("4711" in (run_dir / "parameters.yaml").read_text(encoding="utf-8"), "max_tokens was masked")
    place.read()
    shown = place.pystematic("show", "last", "--output", "json")
    expect(shown.code == 0, f"pystematic show ended with {shown.code}: {last_line(shown.stderr)}")
