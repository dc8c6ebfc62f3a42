"""`node_identity`: models that know which node is which."""

import numpy as np
import pytest
from compiled import outputs
from test_models_units import SMALL, make

from keras_remul import from_preset, save_to_preset


@pytest.mark.parametrize("name", SMALL)
def test_the_order_of_the_nodes_matters(name, bodies):
    x, _ = bodies
    order = np.array([1, 0, 2, 3, 4])
    permuted = {key: value[:, order] for key, value in x.items()}
    for identity in (False, True):
        model = make(name, node_identity=identity)
        outputs(model, x)
        # Steps are small in the beginning.
        model.set_weights([10 * w for w in model.get_weights()])
        y, other = outputs(model, x)[:, order], outputs(model, permuted)
        assert np.allclose(y, other, rtol=1e-3, atol=1e-3) != identity
    again = type(model).from_config(model.get_config())
    assert again.node_identity


def test_the_number_of_nodes_is_fixed(bodies):
    x, _ = bodies
    model = make("EGNN", node_identity=True)
    model(x)
    with pytest.raises(ValueError, match="'node_identity': 5.*'node_iden"):
        model({key: value[:, :4] for key, value in x.items()})
    with pytest.raises(ValueError, match="needs a fixed number of nodes"):
        make("EGNN", node_identity=True).build({"positions": (None, None, 3)})


def test_mask(bodies):
    x, _ = bodies
    x["mask"] = np.ones((12, 5), bool)
    x["mask"][:, 4:] = False
    model = make("MessagePassingNetwork", node_identity=True)
    y = outputs(model, x)
    x["positions"] = np.where(x["mask"][..., None], x["positions"], np.nan)
    np.testing.assert_allclose(outputs(model, x)[:, :4], y[:, :4], atol=1e-6)


def test_preset(bodies, tmp_path):
    x, _ = bodies
    model = make("Transformer", node_identity=True)
    y = outputs(model, x)
    save_to_preset(model, tmp_path / "preset", x=x)
    again = from_preset(tmp_path / "preset")
    np.testing.assert_allclose(outputs(again, x), y, atol=1e-5)
