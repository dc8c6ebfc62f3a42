"""Old names of classes and arguments, so that older files can be loaded.

If a name that files may hold is changed, add it here; never remove one.
"""

OWN_PACKAGE = "keras_remul"

# Classes, by the name under which they are registered.
CLASSES = {"Mirrored": "MirrorPermutation", "Of": "OnFactor"}
# Arguments of classes.
ARGUMENTS = {
    "RemulModel": {"transforms": "num_samples"},
    "Symmetrized": {"samples": "num_samples"},
    "Transformer": {"frames": "num_times"},
    "MessagePassingNetwork": {"frames": "num_times"},
}
# Values of arguments.
VALUES = {
    ("Constrained", "measure"): {
        "error": "equivariance_error",
        "relative_error": "relative_equivariance_error",
    },
}


def current(node):
    """A node of a configuration that names a class, with current names.

    Nodes within its arguments are not changed. A node of another package, or of
    unknown form, is returned unchanged.
    """
    package, _, name = str(node.get("registered_name")).partition(">")
    if package != OWN_PACKAGE:
        return node
    name = CLASSES.get(name, name)
    node = {**node, "class_name": name, "registered_name": f"{package}>{name}"}
    config = node.get("config")
    if isinstance(config, dict):
        arguments = ARGUMENTS.get(name, {})
        config = {arguments.get(key, key): v for key, v in config.items()}
        for key, value in config.items():
            if isinstance(value, str):
                config[key] = VALUES.get((name, key), {}).get(value, value)
        node["config"] = config
    return node
