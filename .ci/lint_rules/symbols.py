"""Rooms as the linker sees them: what objects call, what the module exports, where public functions are defined."""
import re
import subprocess

from rooms import cycles

EXPORTED = {"luaopen_kms_native"}


def nm(*arguments):
    return subprocess.run(["nm", *arguments], capture_output=True, text=True, check=True).stdout


def read_objects(tree, build):
    """By source file that has a fresh object: the symbols that it defines and those that it needs."""
    fresh = {}
    for source in tree.matching(r"csrc/[^/]+/.*\.c"):
        compiled = build / "obj" / (source[:-2] + ".o")
        if compiled.is_file() and compiled.stat().st_mtime >= (tree.root / source).stat().st_mtime:
            fresh[str(compiled)] = source
    objects = {}
    if not fresh:
        return objects
    current = None
    for line in nm("-A", "-P", "-g", *fresh).splitlines():
        path, rest = line.split(": ", 1)
        name, kind = rest.split()[:2]
        current = objects.setdefault(fresh[path], (set(), set()))
        current[kind in "Uw"].add(name)
    return objects


def check_calls(tree, objects):
    home = {name: source for source, (defined, _) in objects.items() for name in defined}
    graph = {}
    for source, (_, needed) in sorted(objects.items()):
        own = source.split("/")[1]
        used = graph.setdefault(source, set())
        for name in sorted(needed & home.keys()):
            used.add(home[name])
            room = home[name].split("/")[1]
            if own in tree.c_rooms and room in tree.c_rooms and tree.c_rooms[room] > tree.c_rooms[own]:
                yield "call", f"{source}: {own} is below {room} ({name})"
    for group in cycles(graph):
        yield "call", "circle of files: " + " ".join(group)


def check_homes(tree, objects):
    """What include/kms/X.h declares is defined in X's room."""
    home = {name: source for source, (defined, _) in objects.items() for name in defined}
    for header, room in tree.headers.items():
        name = f"include/kms/{header}.h"
        if name not in tree.files:
            continue
        code = re.sub(r"/\*.*?\*/", "", tree.text(name), flags=re.S)
        for function in re.findall(r"^[a-z_][\w\s*]*?\b(kms_\w+)\([^{;]*\);", code, flags=re.M):
            where = home.get(function)
            if where and where.split("/")[1] != room:
                yield "home", f"{name}: {function} is defined in {where}"


def check_exports(build):
    module = build / "kms_native.so"
    if not module.is_file():
        return
    exported = {line.split()[0] for line in nm("-D", "--defined-only", "-P", str(module)).splitlines()}
    for name in sorted(exported - EXPORTED):
        yield "export", f"{module.name}: exports {name}"
    for name in sorted(EXPORTED - exported):
        yield "export", f"{module.name}: does not export {name}"


def check(tree, build):
    objects = read_objects(tree, build)
    yield from check_calls(tree, objects)
    yield from check_homes(tree, objects)
    yield from check_exports(build)
