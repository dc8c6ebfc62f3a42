"""What older files call otherwise: they keep loading.

A name that a file may hold and that changes is added here, never taken away.
"""

OWN_PACKAGE = "keras_remul"

# Classes, by the name under which they are registered.
CLASSES = {"Mirrored": "MirrorPermutation", "Of": "OnFactor"}
# Arguments of classes.
ARGUMENTS = {
    "RemulModel": {"transforms": "num_samples"},
    "Symmetrized": {"samples": "num_samples"},
}
# Values of arguments.
VALUES = {
    ("Constrained", "measure"): {
        "error": "equivariance_error",
        "relative_error": "relative_equivariance_error",
    },
}


def current(node):
    """A node of a configuration, one that names a class, in today's names.

    What lies within its arguments is as it was. A node that is of no class of
    this package, or not understood, comes back as it is.
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
