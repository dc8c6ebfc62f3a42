"""Builds all files of a release, into a new folder.

    python tools/release.py

writes into dist/

    keras_remul-*.tar.gz, keras_remul-*.whl   source and wheel
    zoo/manifest.json, zoo/NAME.zip           each preset; stored, not packed
    sbom.cdx.json                             what the wheel needs (CycloneDX)
    SHA256SUMS                                for `sha256sum --check`

from the committed state of the checkout. The same commit gives the same bytes,
except for the versions in the SBOM: those that are installed here.
"""

import argparse
import email
import importlib.metadata
import json
import os
import pathlib
import shutil
import subprocess
import sys
import uuid
import zipfile

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from keras_remul.presets import files
from keras_remul.presets.resolve import MANIFEST
from keras_remul.utils import atomic
from keras_remul.version import __version__

ROOT = pathlib.Path(__file__).parents[1]
NAME = "keras-remul"
SBOM = "sbom.cdx.json"
SUMS = "SHA256SUMS"
# The first that a zip can hold, for all files.
NO_DATE = (1980, 1, 1, 0, 0, 0)


def archive(folder, path):
    """Writes a preset as a zip whose bytes depend on its files only.

    They are stored: weights hardly get smaller, and each version of zlib packs
    in its own way.

    Args:
        folder: the preset.
        path: the zip.

    Raises:
        ValueError: a file is not the one in the metadata.
    """
    listed = files.check_files(folder)["files"]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as target:
        for name in sorted({files.METADATA, *listed}):
            entry = zipfile.ZipInfo(f"{folder.name}/{name}", NO_DATE)
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            target.writestr(entry, (folder / name).read_bytes())


def archive_zoo(zoo, output):
    """Writes all presets of a zoo, and its manifest.

    Args:
        zoo: folder of the presets.
        output: folder to write.

    Raises:
        ValueError: the manifest does not list the files that are there.
    """
    output.mkdir()
    listed = json.loads((zoo / MANIFEST).read_text())["presets"]
    here = {file.parent.name for file in zoo.glob(f"*/{files.METADATA}")}
    if here != {*listed}:
        raise ValueError(
            f"Expected {zoo / MANIFEST} to list what is there. Only one of "
            f"them has: {sorted(here ^ {*listed})}"
        )
    for name, entry in sorted(listed.items()):
        if entry["files"] != files.describe(zoo / name):
            raise ValueError(
                f"Expected the files of {zoo / name} to be those of {MANIFEST}."
                " Run tools/publish_preset.py."
            )
        archive(zoo / name, output / f"{name}.zip")
    shutil.copyfile(zoo / MANIFEST, output / MANIFEST)


def write_sums(folder):
    """Writes SHA256SUMS of all files in a folder.

    Args:
        folder: the folder, with those in it.
    """
    lines = [
        f"{files.sha256(file)}  {file.relative_to(folder).as_posix()}\n"
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != SUMS
    ]
    (folder / SUMS).write_text("".join(lines))


def requirements(wheel):
    """What a wheel says that it needs, its extras too.

    Args:
        wheel: path of the wheel.

    Returns:
        List of texts.
    """
    with zipfile.ZipFile(wheel) as content:
        (name,) = (
            n for n in content.namelist() if n.endswith(".dist-info/METADATA")
        )
        return email.message_from_bytes(content.read(name)).get_all(
            "Requires-Dist", []
        )


def graph(wheel):
    """The packages that a wheel needs without extras, as installed here.

    Args:
        wheel: path of the wheel.

    Returns:
        Dict from names to the sorted names of what each needs.
    """
    found, left = {}, {NAME: requirements(wheel)}
    while left:
        one, wanted = left.popitem()
        wanted = map(Requirement, wanted)
        found[one] = sorted(
            canonicalize_name(each.name)
            for each in wanted
            if each.marker is None or each.marker.evaluate({"extra": ""})
        )
        for name in {*found[one]} - {*found}:
            left[name] = importlib.metadata.requires(name) or ()
    return found


def sbom(wheel):
    """The bill of materials of a wheel, in CycloneDX 1.6.

    It names what the wheel needs without extras, in the versions that are
    installed here, and the hash of the wheel.

    Args:
        wheel: path of the wheel.

    Returns:
        The text of a JSON file.
    """
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6
    from packageurl import PackageURL

    needed, parts = graph(wheel), {}
    for name in needed:
        own = name == NAME
        version = __version__ if own else importlib.metadata.version(name)
        digest = HashType(
            alg=HashAlgorithm.SHA_256, content=files.sha256(wheel)
        )
        parts[name] = Component(
            name=name,
            version=version,
            type=ComponentType.LIBRARY,
            purl=PackageURL("pypi", name=name, version=version),
            bom_ref=f"{name}=={version}",
            hashes=[digest] if own else (),
        )
    bom = Bom(components=[p for name, p in parts.items() if name != NAME])
    bom.metadata.component = parts[NAME]
    for name, wanted in needed.items():
        bom.register_dependency(parts[name], [parts[one] for one in wanted])
    content = json.loads(JsonV1Dot6(bom).output_as_string())
    # The same for the same: neither the hour nor a random number.
    del content["metadata"]["timestamp"], content["serialNumber"]
    number = uuid.uuid5(uuid.NAMESPACE_URL, atomic.as_json(content))
    return atomic.as_json({**content, "serialNumber": f"urn:uuid:{number}"})


def git(*arguments):
    """What git says about the checkout."""
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return done.stdout.decode().strip()


def release(output):
    """Builds everything.

    Args:
        output: a folder that does not exist, or is empty.

    Raises:
        ValueError: it holds something, or the checkout is not committed.
    """
    if output.exists() and any(output.iterdir()):
        raise ValueError(
            f"Expected {output} not to exist, or to be empty. Move it away."
        )
    if changed := git("status", "--porcelain"):
        raise ValueError(
            f"Expected all changes to be committed. Received:\n{changed}"
        )
    output.mkdir(parents=True, exist_ok=True)
    date = git("log", "-1", "--format=%ct")
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", output],
        cwd=ROOT,
        check=True,
        env={**os.environ, "SOURCE_DATE_EPOCH": date},
    )
    archive_zoo(ROOT / "zoo", output / "zoo")
    (wheel,) = output.glob("*.whl")
    (output / SBOM).write_text(sbom(wheel))
    write_sums(output)
    print((output / SUMS).read_text(), end="")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--output",
        type=pathlib.Path,
        default=ROOT / "dist",
        help="folder to write (default: dist)",
    )
    try:
        release(parser.parse_args().output.absolute())
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
