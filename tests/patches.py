"""What of other libraries this one replaces: as its code has it, and as docs/patches.md says.

Code is read by `ast`. An assignment to an attribute counts where the object isn't ours: its name
comes from an import, has a type from one, or no class of ours has an attribute of that name.
"""

import ast
import re
from collections import ChainMap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIST = ROOT / "docs" / "patches.md"
ANY = "*"  # an attribute whose name only a run would tell

# Objects that are there to be given attributes by whoever makes them.
_MADE_TO_BE_SET = ("local", "Options", "COCO")


@dataclass(frozen=True)
class Row:
    """A line of the list.

    Args:
        names: of the attributes that are replaced.
        file: that does so.
        tests: that fail when it can go, as pytest names them; empty where it stays.
    """

    names: frozenset[str]
    file: str
    tests: tuple[str, ...]


def rows(text):
    """The lines of the list's tables."""
    found = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if not line.startswith("| `") or len(cells) != 4:
            continue
        words = [re.findall(r"`([^`]+)`", cell) for cell in cells]
        names = frozenset(word.rpartition(".")[2] for word in words[0])
        tests = tuple(word for word in words[3] if "::" in word)
        found.append(Row(names, words[1][0], tests))
    return found


def own_attributes(trees):
    """What classes of these modules have as attributes."""
    found = set()
    for tree in trees:
        for kind in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
            for node in ast.walk(kind):
                if isinstance(node, ast.FunctionDef):
                    found.add(node.name)
                if isinstance(node, ast.Attribute) and _root(node) == "self":
                    is_own = isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name)
                    found |= {node.attr} if is_own else set()
            found |= {_root(node.target) for node in kind.body if isinstance(node, ast.AnnAssign)}
    return found


def replaced(tree, own):
    """The attributes of objects that aren't ours which a module assigns.

    Args:
        tree: of the module.
        own: what `own_attributes` gave.
    """
    imported = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {(one.asname or one.name).partition(".")[0]: True for one in node.names}
        elif isinstance(node, ast.ImportFrom):
            is_foreign = not (node.module or "").startswith("tfscale") or node.module.endswith(
                (".seams", ".structures")
            )
            imported |= {one.asname or one.name: is_foreign for one in node.names}
    reader = _Reader(ChainMap(imported), own)
    reader.visit(tree)
    return reader.found


def _root(node):
    """The name that an expression begins with, "" where it begins with none."""
    while not isinstance(node, ast.Name):
        if isinstance(node, ast.Attribute | ast.Subscript):
            node = node.value
        elif isinstance(node, ast.Call):
            node = node.func
        elif isinstance(node, ast.ListComp | ast.GeneratorExp):
            node = node.generators[0].iter
        else:
            return ""
    return node.id


def _called(node):
    """The last part of the name of what is called, "" where nothing is."""
    if not isinstance(node, ast.Call):
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else _root(node.func)


class _Reader(ast.NodeVisitor):
    """Knows of names whether they are others'; finds what is assigned to them.

    Args:
        foreign: by name, whether what it stands for is; None where nobody knows.
        own: attributes that classes of ours have.
    """

    def __init__(self, foreign, own):
        self.foreign, self.own, self.found = foreign, own, set()
        self.made = set()  # to be set

    def visit_ClassDef(self, node):
        self.foreign[node.name] = False
        self.generic_visit(node)

    def visit_FunctionDef(self, node):
        self.foreign[node.name] = False
        outside, self.foreign = self.foreign, self.foreign.new_child()
        arguments = node.args
        for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
            self.foreign[one.arg] = self._typed(one.annotation)
        self.generic_visit(node)
        self.foreign = outside

    def visit_For(self, node):
        self._assign([node.target], node.iter)
        self.generic_visit(node)

    def visit_comprehension(self, node):
        self._assign([node.target], node.iter)
        self.generic_visit(node)

    def visit_Assign(self, node):
        self._assign(node.targets, node.value)
        self.generic_visit(node)

    def visit_AnnAssign(self, node):
        self._assign([node.target], node.value)
        if isinstance(node.target, ast.Name):
            self.foreign[node.target.id] = self._typed(node.annotation)
        self.generic_visit(node)

    def visit_AugAssign(self, node):
        self._assign([node.target], node.value)
        self.generic_visit(node)

    def visit_Call(self, node):
        """`setattr(one, name, value)`, and what comes to the same."""
        called = _called(node)
        if called in ("setattr", "delattr", "__setattr__") and len(node.args) > 1:
            name = node.args[1]
            self._note(node.args[0], name.value if isinstance(name, ast.Constant) else ANY)
        elif called in ("update", "setdefault") and isinstance(node.func, ast.Attribute):
            if _namespace(node.func.value):
                self._note(_namespace(node.func.value), ANY)
        self.generic_visit(node)

    def _typed(self, annotation):
        """What is known of an object from its type: others', ours, or nothing (None)."""
        parts = [
            node.id for node in ast.walk(annotation or ast.Pass()) if isinstance(node, ast.Name)
        ]
        known = {self.foreign.get(part) for part in parts}
        return next((one for one in (True, False) if one in known), None)

    def _assign(self, targets, value):
        for target in targets:
            if isinstance(target, ast.Tuple | ast.List):
                self._assign(target.elts, value)
            elif isinstance(target, ast.Attribute):
                self._note(target.value, target.attr)
            elif isinstance(target, ast.Subscript) and _namespace(target.value):
                self._note(_namespace(target.value), ANY)
            if _called(value) in _MADE_TO_BE_SET:
                self.made.add(ast.unparse(target))
            elif isinstance(target, ast.Name):
                self.foreign[target.id] = self.foreign.get(_root(value))

    def _note(self, owner, name):
        """Notes an attribute of `owner`, if that is others'."""
        root, text = _root(owner), ast.unparse(owner)
        if text in ("self", "cls") or any(f"{text}.".startswith(f"{one}.") for one in self.made):
            return
        is_ours = isinstance(owner, ast.Name) and self.foreign.get(root) is False
        if self.foreign.get(root) or not is_ours and name not in self.own:
            self.found.add(name)


def _namespace(node):
    """The object whose attributes `vars(object)` or `object.__dict__` are."""
    if isinstance(node, ast.Attribute) and node.attr == "__dict__":
        return node.value
    return node.args[0] if _called(node) == "vars" and node.args else None
