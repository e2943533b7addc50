"""What may not stand in a file, by regular expression: each rule says where it holds."""
import re

CORE = r"csrc/(?!policy/|bind/|main\.c).*\.[ch]|include/.*\.h"
C = r".*\.[ch]"
CODE = r".*\.(c|h|lua|py|js|mjs|ts|sol)|Makefile|.*/run|spec/worker|\.ci/(?!lint).*"

# Name, files, what is forbidden, and lines where it is fine.
RULES = [
    ("core without Lua", CORE, r'#include *[<"](lua|lauxlib|lualib|luv)', None),
    ("bindings without crypto libraries", r"csrc/bind/.*", r'#include *[<"](openssl|secp256k1)', None),
    ("no goto, no assert, no unbounded string functions", r"csrc/.*\.c",
     r"\bgoto\s+\w+;|\bassert\(|\b(strcpy|strcat|sprintf|gets)\(", None),
    ("no // comments in C", C, r'(^|[^:"])//', r'"[^"]*//[^"]*"'),
    ("nothing unfinished", r"(?!\.ci/lint).*", r"\b(TODO|FIXME|XXX|HACK)\b", None),
    ("algorithms are fetched once (kms/crypto.h)", CORE,
     r"\bEVP_(aes_256_gcm|aes_256_ecb|sha256|sha384)\(|\bHMAC\(|\bSHA256\(|\bd2i_PUBKEY", r"^( \*|/\*)"),
    ("no white space at the end of a line", r".*\.(c|h|lua|py)|Makefile|\.ci/.*", r"[ \t]+$", None),
    ("cites a document outside the repository", CODE,
     r"(?<!\.\./)\bshared/|\bwire-protocol\b|\b(tee|contracts)\.md\b", r"#include"),
]

# Core files that may call what is otherwise in one place.
ALLOCATE = r"csrc/base/(mem|guarded|arena)[a-z_]*\.[ch]"
# Secrets are compared in constant time; these compare public bytes.
COMPARE = (r"csrc/[a-z]+/(store|eth_text|text|json|limit|keyfile|sealed|envelope|p384|channels|pop|selftest|tx|address|attest"
           r"|http|fetch|sync_digest|bech32|age_open|audit)[a-z_0-9]*\.c")


def check(tree):
    rules = [*RULES,
             ("only mem.c and the arena allocate", f"(?!{ALLOCATE})({CORE})",
              r"\b(malloc|calloc|realloc|free|strdup|strndup)\(", None),
             ("memcmp only where nothing is secret", f"(?!{COMPARE})({CORE})", r"\bmemcmp\(", None)]
    for rule, files, forbidden, fine in rules:
        forbidden = re.compile(forbidden)
        for name in tree.matching(files):
            for number, line in enumerate(tree.text(name).splitlines(), 1):
                if forbidden.search(line) and not (fine and re.search(fine, line)):
                    yield rule, f"{name}:{number}: {line.strip()[:100]}"
