"""Files that have grown too long to be read at once."""

LIMITS = [
    (r"(csrc|include|spec)/.*\.[ch]", 400),
    (r"lua/.*\.lua", 250),
    (r"(spec|examples)/.*\.lua", 400),
    (r"\.ci/.*|spec/.*/run|spec/(run|worker)", 250),
]


def check(tree):
    for pattern, most in LIMITS:
        for name in tree.matching(pattern):
            lines = tree.text(name).count("\n")
            if lines > most:
                yield "size", f"{name}: has {lines} lines, at most {most}"
