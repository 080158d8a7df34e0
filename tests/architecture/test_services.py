"""Only services write, and every service has one shape."""

from __future__ import annotations

import ast
import re

from tests.architecture.source import Module, model_owners, product, sql_of

WRITING = {
    "save",
    "create",
    "update",
    "delete",
    "bulk_create",
    "bulk_update",
    "get_or_create",
    "update_or_create",
    "select_for_update",
}
#: update, create and delete are also names of other things: these receivers are no rows.
OTHER_RECEIVERS = re.compile(
    r"^(hash|digest|\w*_digest|details|context|environ|headers|found|data|body|kwargs|fields|\w*cache)$"
)
WRITING_SQL = re.compile(r"\b(INSERT\s+INTO|UPDATE\s+\w+|DELETE\s+FROM|TRUNCATE)\b")
#: Where rows are written outside services, and why.
WRITERS = {
    "zentra.core.jobs": "the slot of a scheduled run is claimed by the kernel itself; no app owns it",
}
MAX_FUNCTION_LINES = 70
MAX_MODULE_LINES = 700


def writes(module: Module) -> list[str]:
    """The places where a module writes rows."""
    found = [
        f"{module.name}:{call.lineno} .{call.func.attr}()"
        for call in module.calls()
        if isinstance(call.func, ast.Attribute) and call.func.attr in WRITING and not _is_other(call.func)
    ]
    return found + [f"{module.name}:{line} SQL" for line, text in sql_of(module) if WRITING_SQL.search(text)]


def _is_other(function: ast.Attribute) -> bool:
    receiver = function.value
    if function.attr not in ("update", "create", "delete"):
        return False
    if isinstance(receiver, ast.Attribute) and receiver.attr == "__dict__":
        return True
    return isinstance(receiver, ast.Name) and bool(OTHER_RECEIVERS.match(receiver.id))


def parsed(text: str) -> Module:
    plain = next(module for module in product() if module.name == "payments.selectors")
    return Module(plain.path, ast.parse(text))


class TestOnlyServicesWrite:
    def test_no_other_module_of_an_app_that_owns_tables_writes(self):
        others = [module for module in model_owners() if module.word != "services" and module.name not in WRITERS]

        assert len(others) > 60
        assert [place for module in others for place in writes(module)] == []

    def test_the_check_knows_a_write_when_it_sees_one(self):
        for line in (
            "payment.save()",
            "Payment.objects.create(id=1)",
            "Payment.objects.filter(id=1).update(state='x')",
            "rows.delete()",
            "cursor.execute('UPDATE payments_payment SET state = 1')",
            "cursor.execute(f'DELETE FROM payments_payment WHERE {x}')",
        ):
            assert writes(parsed(line)), line
        assert not writes(parsed("details.update(a=1)"))

    def test_the_edges_of_the_platform_write_nothing_either(self):
        edges = [module for module in product() if module.owner in ("zentra.api", "zentra.urls", "zentra.apps")]

        assert [place for module in edges for place in writes(module)] == []


def public_functions(module: Module) -> list[ast.FunctionDef]:
    return [
        node
        for node in module.tree.body
        if isinstance(node, ast.FunctionDef)
        and not node.name.startswith("_")
        and "contextmanager" not in _decorators(node)
    ]


def _decorators(node: ast.FunctionDef) -> str:
    return " ".join(ast.unparse(decorator) for decorator in node.decorator_list)


def faults(function: ast.FunctionDef) -> list[str]:
    """What is wrong with the shape of a service: what it works on may come first, all else is named in the call."""
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    allowed = 0 if "atomic" in _decorators(function) else 1
    found = []
    if len(positional) > allowed or arguments.vararg or arguments.kwarg:
        found.append("has positional parameters")
    if function.returns is None or any(item.annotation is None for item in [*positional, *arguments.kwonlyargs]):
        found.append("is not annotated")
    if not ast.get_docstring(function):
        found.append("has no docstring")
    return found


class TestAService:
    def test_is_called_by_name_annotated_and_documented(self):
        services = [module for module in model_owners() if module.word == "services"]
        functions = [(module, function) for module in services for function in public_functions(module)]

        assert len(functions) > 60
        assert [
            f"{module.name}.{function.name} {fault}" for module, function in functions for fault in faults(function)
        ] == []

    def test_the_check_notices_each_fault(self):
        (loose,) = public_functions(parsed("def pay(a, b): pass"))

        assert faults(loose) == ["has positional parameters", "is not annotated", "has no docstring"]


class TestACommittingUseCase:
    def test_is_durable_where_it_moves_money(self):
        """Nested, a use case would let its caller roll back what it told the world. A preview never commits."""
        loose = [
            f"{module.name}.{node.name}"
            for module in model_owners()
            if module.owner in ("payments", "settlement") and module.word == "services"
            for node in module.tree.body
            if isinstance(node, ast.FunctionDef)
            and "atomic" in _decorators(node)
            and "durable=True" not in _decorators(node)
            and "set_rollback" not in ast.unparse(node)
        ]

        assert loose == []


class TestOneScreen:
    def test_holds_every_function(self):
        long = [
            f"{module.name}.{node.name}: {(node.end_lineno or 0) - node.lineno + 1} lines"
            for module in product()
            for node in ast.walk(module.tree)
            if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno >= MAX_FUNCTION_LINES
        ]

        assert long == []

    def test_a_module_is_no_book(self):
        lines = {module.name: len(module.path.read_text(encoding="utf-8").splitlines()) for module in product()}

        assert {name: count for name, count in lines.items() if count > MAX_MODULE_LINES} == {}
