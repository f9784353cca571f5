"""`python -m wasmill build src/plugin.py plugin.wasm`: compiles a plugin and Python into a component.

The folder of the module goes into the component as a whole, and nothing else does but the standard library. The
contract is taken from `wit/` in the current folder or, in Wasmill's own checkout, from there.
"""

import argparse
import importlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

COMMON = ["log", "config", "event_details"]
STATE = [*COMMON, "state", "state_json"]
IMPORTS = {"projection": STATE, "handler": [*STATE, "env", "outbox_json"], "upcaster": COMMON}

ENTRY = """\
from types import SimpleNamespace
from wit_world.imports import {imports}
from wasmill.component import exports
from {module} import plugin

Descriptor, {exported} = exports(plugin, SimpleNamespace({joined}))
"""


def entry(module, kind):
    names = IMPORTS[kind]
    exported = f"{kind.capitalize()}Json"
    joined = ", ".join(f"{name}={name}" for name in names)
    return ENTRY.format(imports=", ".join(names), module=module, exported=exported, joined=joined)


def build(source, output):
    sys.path.insert(0, str(source.parent))
    # Running it here first tells its kind, and what is wrong with it without a component around it.
    plugin = getattr(importlib.import_module(source.stem), "plugin", None)
    if getattr(plugin, "kind", None) not in IMPORTS:
        sys.exit(f"{source}: there is no variable `plugin` that is a Projection, a Handler or an Upcaster")
    sdk = pathlib.Path(__file__).resolve().parent
    wit = next(folder for folder in (pathlib.Path("wit").resolve(), sdk.parents[2] / "wit") if folder.exists())
    path = os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ["PATH"]])
    compiler = shutil.which("componentize-py", path=path)
    if compiler is None:
        sys.exit("componentize-py is missing: pip install -r requirements.txt")
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        bare = shutil.ignore_patterns("__pycache__")
        shutil.copytree(sdk, pathlib.Path(folder, "wasmill"), ignore=bare)
        shutil.copytree(source.parent, folder, dirs_exist_ok=True, ignore=bare)
        pathlib.Path(folder, "wasmill_entry.py").write_text(entry(source.stem, plugin.kind))
        command = [compiler, "--quiet", "-d", wit, "-w", f"{plugin.kind}-plugin-json", "componentize"]
        # With WASI, since the host's leads nowhere: a projection's clock stands still, its random numbers are fixed.
        subprocess.run([*command, "-p", folder, "-o", output.resolve(), "wasmill_entry"], check=True)


def main():
    parser = argparse.ArgumentParser(prog="python -m wasmill", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    arguments = commands.add_parser("build", help="compile a plugin into a component")
    arguments.add_argument("source", type=pathlib.Path, help="the module, such as src/plugin.py")
    arguments.add_argument("output", type=pathlib.Path, help="the component, such as plugin.wasm")
    given = parser.parse_args()
    build(given.source, given.output)


main()
