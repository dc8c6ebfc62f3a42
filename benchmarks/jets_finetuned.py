"""ParticleNet on 1000 top jets: from the weights of JetClass, and from scratch.

    KERAS_BACKEND=torch python benchmarks/jets_finetuned.py FILE PRESET START

FILE as for `jets.py`; PRESET is what `keras-remul convert particlenet` wrote.
START is `pretrained`: all layers, the head that of t -> bqq less that of QCD,
batch norms with the statistics that they have; or `scratch`. The best epoch is
that of the smallest cross-entropy on 1000 jets of the validation split. With
`--beta`, REMUL for Lorentz transformations. Prints a line of JSON: figures of
1000 test jets, as they are and moved.
"""

import argparse
import json
import time

import jets
import keras
from jets_pretrained import QCD, TOP

import keras_remul as kr
from keras_remul.evaluation import evaluate_equivariance, evaluate_tagger


def make(preset, start):
    """The tagger with one logit."""
    source = kr.from_preset(preset)
    tagger = kr.models.ParticleNet(units=1)
    tagger.build({"four_momenta": (None, None, 4)})
    if start == "scratch":
        return tagger
    pairs = [(source.norm, tagger.norm), (source.hidden, tagger.hidden)]
    pairs += zip(source.blocks, tagger.blocks, strict=True)
    for old, new in pairs:
        new.set_weights(old.get_weights())
    head = [w[..., [TOP]] - w[..., [QCD]] for w in source.head.get_weights()]
    tagger.head.set_weights(head)
    tagger.norm.trainable = False
    for block in tagger.blocks:
        for norm in (*block.norms, block.shortcut_norm):
            norm.trainable = False
    return tagger


def train(model, sets, beta, epochs, rate, seed, batch_size=50):
    """Trains; leaves the weights of the best epoch. Returns what was seen."""
    steps = epochs * -(-len(sets[0][1]) // batch_size)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, steps, warmup_target=rate, warmup_steps=steps // 10
    )
    remul = kr.RemulModel(
        model,
        jets.symmetry(jets.GROUPS["lorentz"]),
        kr.weighting.Constant(beta=beta),
        target="predictions",
        seed=seed,
    )
    remul.compile(
        keras.optimizers.AdamW(schedule, weight_decay=0.01),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
    )
    seen, best = [], None
    for epoch in range(epochs):
        remul.fit(
            *sets[0],
            batch_size=batch_size,
            initial_epoch=epoch,
            epochs=epoch + 1,
            verbose=0,
        )
        loss = remul.evaluate(*sets[1], batch_size=250, verbose=0)
        loss = float(loss[0] if isinstance(loss, list) else loss)
        if not seen or loss < min(seen):
            best = model.get_weights()
        seen.append(loss)
    model.set_weights(best)
    return seen


def main():
    """Trains and measures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("preset")
    parser.add_argument("start", choices=("pretrained", "scratch"))
    parser.add_argument("--beta", type=float, default=0.0)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rate", type=float, default=1e-4)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    keras.utils.set_random_seed(arguments.seed)
    model = make(arguments.preset, arguments.start)
    sets = [
        ({key: a[:1000] for key, a in x.items()}, y[:1000])
        for x, y in jets.load(arguments.file)
    ]
    start, cpu = time.perf_counter(), time.process_time()
    seen = train(
        model,
        sets,
        arguments.beta,
        arguments.epochs,
        arguments.rate,
        arguments.seed,
    )
    result = {
        **vars(arguments),
        "seconds": round(time.perf_counter() - start),
        "cpu_seconds": round(time.process_time() - cpu),
        "validation": [round(loss, 4) for loss in seen],
        "test": evaluate_tagger(model, *sets[2]),
    }
    few = {key: a[:200] for key, a in sets[2][0].items()}
    for name, group in jets.GROUPS.items():
        symmetry = jets.symmetry(group)
        result[name] = evaluate_tagger(model, *sets[2], symmetry)
        result[name] |= evaluate_equivariance(
            model, few, symmetry, num_samples=5
        )
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
