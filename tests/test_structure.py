"""The rules of the architecture, read off the source."""

import ast
import importlib
import inspect
import pathlib
import pkgutil

import keras
import pytest
from public import names_of

import keras_remul
from keras_remul import (
    RemulModel,
    Symmetry,
    groups,
    layers,
    models,
    representations,
    weighting,
)

PACKAGE = pathlib.Path(keras_remul.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
FRAMEWORKS = {"jax", "jaxlib", "torch", "tensorflow"}


def module_of(file):
    """ "keras_remul.groups.base" and the like."""
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


def imports(file):
    """Every module that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def importers(*modules):
    """Files outside `modules` that import one of them."""
    result = []
    for file in FILES:
        if module_of(file).startswith(modules):
            continue
        if any(name.startswith(modules) for name in imports(file)):
            result.append(module_of(file))
    return result


def test_frameworks_are_imported_in_backend_only():
    users = [
        module_of(file)
        for file in FILES
        if {name.split(".")[0] for name in imports(file)} & FRAMEWORKS
    ]
    assert users == [
        f"keras_remul.{folder}.{name}"
        for folder in ("backend.devices", "backend")
        for name in ("jax", "tensorflow", "torch")
    ] + ["keras_remul.backend.torch_files"]  # read on any backend


@pytest.mark.parametrize("folder", ["backend", "backend/devices"])
def test_backends_are_the_same_file_three_times(folder):
    signatures = []
    for name in ("jax", "torch", "tensorflow"):
        tree = ast.parse((PACKAGE / folder / f"{name}.py").read_text())
        signatures.append(
            [
                (node.name, ast.unparse(getattr(node, "args", [])))
                for node in tree.body
                if isinstance(node, (ast.FunctionDef, ast.ClassDef))
                and not node.name.startswith("_")
            ]
        )
    assert signatures[0] == signatures[1] == signatures[2]
    exported = {name for name, _ in signatures[0]}
    module = "keras_remul." + folder.replace("/", ".")
    assert exported == set(importlib.import_module(module).__all__)


# The rooms of the package, from the ground up: each imports from those that
# stand before it, and from itself.
ROOMS = (
    "version backend utils groups representations symmetry periodic graphs "
    "layers models distribution training evaluation datasets presets "
    "experiments cli __init__"
).split()


def room_of(module):
    return (module.split(".") + ["__init__"])[1]


def imported_modules(file):
    """The modules of the package that a file imports, anywhere in it."""
    modules = {module_of(other) for other in FILES}
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                found.add(name if name in modules else node.module)
    return found & modules


def test_the_top_of_the_package():
    top = [path for path in PACKAGE.iterdir() if path.name[0] not in "._"]
    files = {path.stem for path in top if path.suffix == ".py"}
    folders = {path.name for path in top if any(path.glob("*.py"))}
    assert files | folders | {"__init__"} == {*ROOMS}
    assert len(files | {"__init__"}) <= 6 and len(folders) <= 12


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_no_room_imports_from_one_above(file):
    here = ROOMS.index(room_of(module_of(file)))
    for module in imported_modules(file):
        assert ROOMS.index(room_of(module)) <= here, module
        # The whole package is imported by those who use it alone.
        assert module != "keras_remul", "import from the module itself"


def test_no_module_needs_itself():
    """No circle, be it within a room, over a function, or over a package."""
    needs = {module_of(file): imported_modules(file) for file in FILES}
    done = set()

    def walk(module, path):
        assert module not in path, " -> ".join([*path, module])
        if module not in done:
            for needed in sorted(needs[module]):
                walk(needed, [*path, module])
            done.add(module)

    for module in needs:
        walk(module, [])


@pytest.mark.parametrize("name", ["keras_remul", "keras_remul.presets"])
def test_what_is_imported_late_is_said_once_more_for_type_checkers(name):
    package = importlib.import_module(name)
    tree = ast.parse(pathlib.Path(package.__file__).read_text())
    (block,) = (
        node
        for node in tree.body
        if isinstance(node, ast.If)
        and getattr(node.test, "id", "") == "TYPE_CHECKING"
    )
    said = {}
    for node in block.body:
        for alias in node.names:
            module = f"{node.module}.{alias.name}"
            known = {module_of(file) for file in FILES}
            said[alias.name] = module if module in known else node.module
    assert said == package._PLACES
    assert {*package._PLACES} == {*package.__all__} - {"__version__"}
    assert {*package.__all__} <= {*dir(package)}
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        package.nothing  # noqa: B018


def test_nothing_imports_zoo_or_recipes():
    assert importers("zoo", "recipes") == []


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_file(file):
    text = file.read_text()
    tree = ast.parse(text)
    assert len(text.splitlines()) <= 500
    if text:
        assert ast.get_docstring(tree), "a module says what it is for"
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Assert)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("eval", "exec")
    assert not {"pickle", "marshal", "dill"} & imports(file)


def test_every_module_can_be_imported():
    for module in pkgutil.walk_packages([str(PACKAGE)], "keras_remul."):
        if module.name.startswith("keras_remul.backend."):
            continue  # needs its framework
        importlib.import_module(module.name)


def test_public_names_have_docstrings():
    for module in (
        keras_remul,
        groups,
        representations,
        layers,
        models,
        weighting,
        keras_remul.datasets,
        keras_remul.callbacks,
        keras_remul.metrics,
        keras_remul.testing,
    ):
        for name in names_of(module):
            assert inspect.getdoc(getattr(module, name)), (module, name)


def configurable():
    """One object of each public class with a configuration."""
    yield from (
        groups.SO2(axis="y"),
        groups.SO3(),
        groups.O3(),
        groups.Translations(),
        groups.SE3(),
        groups.E3(),
        groups.O2(),
        groups.SE2(),
        groups.E2(),
        groups.Lorentz(),
        groups.Scalings(),
        groups.Cyclic(4),
        groups.Dihedral(4),
        groups.CircularShifts([4, 4]),
        groups.Permutations(5),
        groups.Product(
            {"space": groups.SO3(), "nodes": groups.Permutations(5)}
        ),
        representations.Scalar(),
        representations.Pseudoscalar(),
        representations.Vector(),
        representations.Pseudovector(),
        representations.Point(),
        representations.Tensor(2),
        representations.SymmetricMatrix(),
        representations.FourVector(),
        representations.Irrep(2),
        representations.DirectSum(["scalar", "vector"]),
        representations.OnFactor("space", "vector"),
        representations.Grid(),
        representations.Homogeneous(1),
        weighting.Constant(),
        layers.MultiHeadSelfAttention(8, 2),
        layers.TransformerBlock(8, 2),
        layers.PairBias(2, 2),
        layers.MessagePassing(8),
        layers.EGNNLayer(8),
        models.Transformer(),
        models.MessagePassingNetwork(),
        models.EGNN(),
        models.ConservativeForces(models.EGNN(readout="graph")),
        layers.VectorNormalization(),
        layers.VectorTransformerBlock(8, 4, 2),
        layers.MultivectorDense(4),
        layers.MultivectorNormalization(),
        layers.GATrBlock(8, 4, 2),
        models.VectorTransformer(),
        layers.IrrepDense(4),
        layers.SE3TransformerBlock(2, 4, 2),
        models.GATr(),
        models.SE3Transformer(),
        models.LinearNodes(),
        models.Ensemble([models.EGNN()]),
    )
    symmetry = Symmetry(groups.SO3(), "vector", "vector")
    yield symmetry
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    yield RemulModel(model, symmetry)
    yield keras_remul.FrameAveraging(model, symmetry)
    yield keras_remul.Canonicalization(model, symmetry)


@pytest.mark.parametrize(
    "value", list(configurable()), ids=lambda v: type(v).__name__
)
def test_config_lists_every_argument(value):
    parameters = inspect.signature(type(value).__init__).parameters.values()
    expected = {
        p.name
        for p in parameters
        if p.name != "self" and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    }
    assert expected <= set(value.get_config())
    again = type(value).from_config(value.get_config())
    assert type(again) is type(value)
