"""Rooms: each file stands in one, and uses only its own room and those above it in the tables of
docs/architecture.md; files do not use each other in a circle."""
import re
import subprocess

SPEC_FOLDERS = {
    "bench", "clients", "cluster", "conformance", "ct", "devnet", "e2e", "fuzz", "model", "native", "project", "simulate", "support", "upgrade",
    "vectors",
}


class Tree:
    """The tracked files, and the rooms in their order."""

    def __init__(self, root):
        self.root = root
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=root, capture_output=True, text=True, check=True).stdout.splitlines()
        self.files = sorted({name for name in listed if (root / name).is_file()})
        self.texts = {}
        self.c_rooms, self.headers = {}, {}
        self.lua_rooms = {}
        self.duplicates = []
        self.read_tables()

    def read_tables(self):
        table = None
        for line in self.text("docs/architecture.md").splitlines():
            marker = re.match(r"<!-- rooms: (\S+) -->", line)
            if marker:
                table = marker.group(1)
            elif line.startswith("#"):
                table = None
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if not table or not line.startswith("|") or cells[0] in ("room", "---"):
                continue
            rooms = self.c_rooms if table == "csrc" else self.lua_rooms
            rooms[cells[0]] = len(rooms)
            for header in cells[2].split() if table == "csrc" else []:
                if header in self.headers:
                    self.duplicates.append(header)
                self.headers[header] = cells[0]

    def text(self, name):
        if name not in self.texts:
            self.texts[name] = (self.root / name).read_text(errors="replace")
        return self.texts[name]

    def matching(self, pattern):
        return [name for name in self.files if re.fullmatch(pattern, name)]


def cycles(graph):
    """Groups of nodes that use each other in a circle (Tarjan's strongly connected components)."""
    index, low, stack, groups = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for used in graph.get(node, ()):
            if used not in index:
                visit(used)
                low[node] = min(low[node], low[used])
            elif used in stack:
                low[node] = min(low[node], index[used])
        if low[node] == index[node]:
            group = stack[stack.index(node):]
            del stack[stack.index(node):]
            if len(group) > 1 or node in graph.get(node, ()):
                groups.append(sorted(group))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return groups


# ---- places ----


def check_places(tree):
    for name in tree.files:
        parts = name.split("/")
        room = parts[1] if len(parts) > 2 else None
        if parts[0] == "csrc" and name != "csrc/main.c" and room not in tree.c_rooms:
            yield "place", f"{name}: is in no room of docs/architecture.md"
        if name.startswith("lua/kms/") and (len(parts) < 4 or parts[2] not in tree.lua_rooms):
            yield "place", f"{name}: is in no room of docs/architecture.md"
        if parts[0] == "lua" and name != "lua/main.lua" and parts[1] not in ("kms", "devnet"):
            yield "place", f"{name}: is neither in lua/kms nor in lua/devnet"
        if name.startswith("spec/native/") and len(parts) > 3 and parts[2] not in tree.c_rooms:
            yield "place", f"{name}: is in no room of docs/architecture.md"
        if parts[0] == "spec" and room and room not in SPEC_FOLDERS | set(tree.lua_rooms) | {"bind"}:
            yield "place", f"{name}: is in no room of docs/architecture.md"
    listed = set(tree.headers)
    there = {name[len("include/kms/"):-2] for name in tree.matching(r"include/.*\.h")}
    for header in sorted(there - listed):
        yield "place", f"include/kms/{header}.h: is in no row of docs/architecture.md"
    for header in sorted(listed - there):
        yield "place", f"docs/architecture.md: there is no include/kms/{header}.h"
    for header in tree.duplicates:
        yield "place", f"docs/architecture.md: {header} is in two rows"


# ---- includes ----


def room_of_c(tree, name):
    if name.startswith("include/kms/"):
        return tree.headers.get(name[len("include/kms/"):-2])
    return name.split("/")[1]


def check_includes(tree):
    graph = {}
    for name in tree.matching(r"(csrc/[^/]+|include/kms)/.*\.[ch]"):
        own = room_of_c(tree, name)
        used = graph.setdefault(name, set())
        for number, line in enumerate(tree.text(name).splitlines(), 1):
            match = re.match(r'#include "(.*)"', line)
            if not match:
                continue
            target = ("include/" if match.group(1).startswith("kms/") else "csrc/") + match.group(1)
            if target not in tree.files:
                yield "include", f"{name}:{number}: there is no {target}"
                continue
            used.add(target)
            room = room_of_c(tree, target)
            if own in tree.c_rooms and room in tree.c_rooms and tree.c_rooms[room] > tree.c_rooms[own]:
                yield "include", f"{name}:{number}: {own} is below {room} ({match.group(1)})"
    for group in cycles(graph):
        yield "include", "circle of headers: " + " ".join(group)


# ---- requires ----


def file_of_module(tree, module):
    base = "lua/" + module.replace(".", "/")
    for name in (base + ".lua", base + "/init.lua"):
        if name in tree.files:
            return name
    return None


def requires(tree, name):
    """(line, module, whether it is required while the file is loaded) of a Lua file."""
    opener = ""
    for number, line in enumerate(tree.text(name).splitlines(), 1):
        if line.startswith("--"):
            continue
        if re.match(r"[a-z]", line):
            opener = line
        for module in re.findall(r'require\("((?:kms|devnet)(?:\.[a-z_0-9.]*)?)"\)', line):
            yield number, module, re.match(r"\s", line) is None or "function" not in opener


def level_of_lua(tree, name):
    """0 for the lowest room; devnet above all of kms, main.lua above that."""
    if name.startswith("lua/kms/"):
        return tree.lua_rooms.get(name.split("/")[2])
    return len(tree.lua_rooms) + (name == "lua/main.lua")


def check_requires(tree):
    graph = {}
    for name in tree.matching(r"lua/.*\.lua"):
        own = level_of_lua(tree, name)
        used = graph.setdefault(name, set())
        for number, module, loading in requires(tree, name):
            target = file_of_module(tree, module)
            if not target:
                yield "require", f"{name}:{number}: there is no module {module}"
                continue
            if loading:
                used.add(target)
            level = level_of_lua(tree, target)
            if own is not None and level is not None and level > own:
                yield "require", f"{name}:{number}: {module} is in a room above"
    for group in cycles(graph):
        yield "require", "circle: " + " ".join(group)


def check(tree):
    yield from check_places(tree)
    yield from check_includes(tree)
    yield from check_requires(tree)
