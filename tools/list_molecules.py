"""Writes the list of molecules of the data set `xtb_organic`; needs RDKit.

python tools/list_molecules.py keras_remul/datasets/xtb_organic/molecules.txt

Molecules grow from parents by random substitutions, with a fixed seed. The
list is kept in the package, so that it does not depend on the version of RDKit.
"""

import random
import sys

from rdkit import Chem, RDLogger

SEED = 0
SIZES = {"train": 2800, "validation": 140, "test": 280, "test_large": 160}
SMALL, LARGE = range(1, 10), range(10, 15)  # heavy atoms
ATOMS = 29  # with hydrogen, as nonane: all molecules have the same padding
# Reserved for fine-tuning: ethanol, acetylacetone, 3BPA.
RESERVED = ("CCO", "CC(=O)CC(C)=O", "Nc1ncccc1OCc1ccccc1")
PARENTS = [
    # Chains and functional groups.
    *"C CC CCC CCCC CCCCC CC(C)C C=C CC=C C=CC=C C#C CC#C CO CN CNC".split(),
    *"CN(C)C CF FC(F)F COC CCOC C=O CC(C)=O CCC=O C=CC=O O=CCC=O".split(),
    *"O=CC=CO CC(=O)CC=O CC(O)=CC=O CCC(=O)CC(C)=O CC(=O)C(C)C(C)=O".split(),
    *"CC(=O)C=C(O)CC O=C(C)C=CN CC(=O)O COC=O COC(C)=O NC=O".split(),
    *"CNC=O CC(N)=O CNC(C)=O CN(C)C=O NC(N)=O COC(N)=O COC(=O)OC".split(),
    *"COC(=O)CC(C)=O C#N CC#N N#CCC#N C=CC#N NCC(=O)O CC=NC C=NO".split(),
    *"NC(=N)N CC(=N)N OCCO NCCO NCCN COCCO COCOC C[N+](=O)[O-]".split(),
    # Rings without aromatic bonds.
    *"C1CC1 C1CCC1 C1CCCC1 C1CCCCC1 C1CCCCCC1 C1=CCCC1 C1=CCCCC1".split(),
    *"C1CO1 C1CN1 C1COC1 C1CNC1 C1CCOC1 C1CCNC1 C1CCOCC1 C1CCNCC1".split(),
    *"C1COCCN1 C1COCCO1 C1CNCCN1 C1COCO1 O=C1CCC1 O=C1CCCC1".split(),
    *"O=C1CCCCC1 O=C1C=CCC1 O=C1CC(=O)CCC1 O=C1C=C(O)CCC1".split(),
    *"O=C1CCCO1 O=C1CCCN1 O=C1CCCCN1 O=C1CCC(=O)N1 O=C1NCCO1".split(),
    *"C1=COCC1 C1=CCC=CC1 C1CC2CC2C1 C1CC2CCC1C2 C1CC2CCC1O2".split(),
    # Aromatic rings; several times, as they are a kind of their own.
    *"c1ccccc1 c1ccncc1 c1cnccn1 c1cncnc1 c1ccnnc1 c1cc[nH]c1".split() * 2,
    *"c1ccoc1 c1c[nH]cn1 c1cn[nH]c1 c1cocn1 c1ccon1 c1nc[nH]n1".split(),
    *"c1nnco1 c1c[nH]nn1 O=c1cccc[nH]1 O=c1cc[nH]cc1 O=c1ccocc1".split(),
    *"O=c1cc[nH]c(=O)[nH]1 Oc1ccccc1 Oc1cccnc1 Nc1ccccn1 Nc1ccccc1".split(),
    *"COc1ccccc1 COc1cccnc1 Nc1ncccc1O Nc1ncccc1OC OCc1ccccc1".split(),
    *"COCc1ccccc1 Cc1ccccc1 O=Cc1ccccc1 N#Cc1ccccc1 Fc1ccccc1".split(),
    *"c1ccc2[nH]ccc2c1 c1ccc2occc2c1 c1ccc2[nH]cnc2c1 c1ccn2ccnc2c1".split(),
]
GROUPS = {  # SMILES, bound by its first atom: weight
    "C": 6, "CC": 1, "C(C)C": 0.3, "C1CC1": 0.3, "C=C": 0.7, "C#C": 0.5,
    "F": 1.5, "C(F)(F)F": 0.3, "O": 2, "OC": 1, "CO": 0.8, "N": 1.5,
    "NC": 0.5, "N(C)C": 0.4, "CN": 0.4, "C#N": 1, "C=O": 1, "C(C)=O": 1,
    "C(=O)O": 0.4, "C(=O)OC": 0.3, "OC(C)=O": 0.3, "C(N)=O": 0.6,
    "NC(C)=O": 0.3, "NC=O": 0.3, "[N+](=O)[O-]": 0.1,
}  # fmt: skip
LARGE_GROUPS = {**GROUPS, "c1ccccc1": 1, "Cc1ccccc1": 1, "c1ccncc1": 1}
UNSTABLE = [
    "[NX3,NX2,OX2;!a]-[NX3,NX2,OX2,F;!$(N=O)]",  # but in rings and nitro
    "[CX4]([OX2,NX3;!H0])[OX2,NX3,F]",  # hemiacetals, aminals
    "[CX4;!$(C(F)(F)F)]([OX2,NX3])F",
    "[CX4]([OX2,NX3])([OX2,NX3])[OX2,NX3]",
    "[CX4]([OX2,NX3])[NX3]",
    "[CX2;!$(C#N)][OX2,NX3,F]",  # alcohols and amines of alkynes
    "[NX3][F,$(C#N)]",
    "[#6]=[#6]=[*]",
    "C(=O)(F)",
    "[CX3]([OX2H])=[CX3;!$(CC=O)]",  # enols but those of diketones
    "[CX3]([NX3H2])=[CX3;!$(CC=O);!$(CC#N)]",
    "[r3]=[r3]",
    "[CX3](=O)[CX3](=O)[CX3]=O",
    "[CX3](=O)[OX2H].[CX3](=O)[OX2H]",
    "C(=O)([OX2H])[OX2,NX3,$(C=O)]",
    "[OX2][CX2]",
    "[NX3H2][CX3](=O)[OX2H]",
]
_UNSTABLE = [Chem.MolFromSmarts(pattern) for pattern in UNSTABLE]


def skeleton(molecule):
    """The heavy atoms and who is bound to whom, as SMILES.

    Molecules that differ only in hydrogen atoms and in the orders of their
    bonds, such as tautomers, have the same skeleton.
    """
    plain = Chem.RWMol()
    for atom in molecule.GetAtoms():
        new = Chem.Atom(atom.GetAtomicNum())
        new.SetNoImplicit(True)
        plain.AddAtom(new)
    for bond in molecule.GetBonds():
        plain.AddBond(
            bond.GetBeginAtomIdx(),
            bond.GetEndAtomIdx(),
            Chem.BondType.SINGLE,
        )
    return Chem.MolToSmiles(plain)


def grow(molecule, groups, rng):
    """The molecule with one hydrogen replaced by a group, or CH2 by CO."""
    sites = [atom for atom in molecule.GetAtoms() if atom.GetTotalNumHs()]
    if not sites:
        return None
    atom = rng.choice(sites)
    pairs = atom.GetAtomicNum() == 6 and atom.GetTotalNumHs() > 1
    double = pairs and not atom.GetIsAromatic() and rng.random() < 0.1
    group = rng.choices([*groups], [*groups.values()])[0]
    fragment = Chem.MolFromSmiles("O" if double else group)
    product = Chem.RWMol(Chem.CombineMols(molecule, fragment))
    product.GetAtomWithIdx(atom.GetIdx()).SetNumExplicitHs(
        max(0, atom.GetNumExplicitHs() - 1)
    )
    kind = Chem.BondType.DOUBLE if double else Chem.BondType.SINGLE
    product.AddBond(atom.GetIdx(), molecule.GetNumAtoms(), kind)
    return clean(product)


def clean(molecule):
    """The molecule as RDKit reads its own SMILES; None if it is not one."""
    return Chem.MolFromSmiles(Chem.MolToSmiles(molecule))


def is_ordinary(molecule):
    """Whether a molecule can be bought or kept, in most cases."""
    return not any(map(molecule.HasSubstructMatch, _UNSTABLE))


def molecules(count, sizes, groups, rng, taken, parents=()):
    """Different molecules of these sizes, `{SMILES: skeleton}`.

    Args:
        count: how many.
        sizes: numbers of heavy atoms.
        groups: what replaces hydrogen, with weights.
        rng: a `random.Random`.
        taken: skeletons that are left out.
        parents: SMILES that are taken first, if they have one of the sizes.
    """
    queue, found = list(parents), {}
    while len(found) < count:
        if queue:
            molecule = Chem.MolFromSmiles(queue.pop())
        else:
            molecule = grown(sizes, groups, rng)
        if molecule and molecule.GetNumAtoms() in sizes:
            key = skeleton(molecule)
            atoms = molecule.GetNumAtoms(onlyExplicit=False)
            if key not in taken and atoms <= ATOMS:
                found[Chem.MolToSmiles(molecule)] = key
    return found


def grown(sizes, groups, rng):
    """A random molecule of at least one of the sizes, or None."""
    molecule = Chem.MolFromSmiles(rng.choice(PARENTS))
    # Large molecules are many, small ones are few.
    size = max(rng.choice(sizes), rng.choice(sizes))
    while molecule and molecule.GetNumAtoms() < size:
        molecule = grow(molecule, groups, rng)
    return molecule if molecule and is_ordinary(molecule) else None


def split(found, sizes, rng):
    """`{split: [SMILES]}`; molecules of one skeleton are in one split."""
    by_skeleton = {}
    for smiles, key in found.items():
        by_skeleton.setdefault(key, []).append(smiles)
    skeletons = sorted(by_skeleton)
    rng.shuffle(skeletons)
    lists = {name: [] for name in sizes}
    for key in skeletons:
        open_ = [name for name in sizes if len(lists[name]) < sizes[name]]
        lists[open_[0]] += sorted(by_skeleton[key])
    return lists


def main(path):
    RDLogger.DisableLog("rdApp.*")
    rng = random.Random(SEED)
    taken = {skeleton(Chem.MolFromSmiles(smiles)) for smiles in RESERVED}
    small = {name: SIZES[name] for name in ("validation", "test", "train")}
    found = molecules(sum(small.values()), SMALL, GROUPS, rng, taken, PARENTS)
    lists = split(found, small, rng)
    lists["test_large"] = list(
        molecules(SIZES["test_large"], LARGE, LARGE_GROUPS, rng, taken)
    )
    lines = []
    for name, smiles in lists.items():
        rng.shuffle(smiles)
        lines += [f"> {name}", *smiles]
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
