"""Class names become sentences: which sense a word takes, how sentences are built, and what a user's file may change."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from medmnist import INFO

from autoannotate.errors import InputError, UsageError
from autoannotate.labelling.zero_shot.prompts import MAX_SENTENCES, ClassPrompts, class_prompts, modality_prompts
from autoannotate.labelling.zero_shot.vocabulary import key, spoken
from autoannotate.labelling.zero_shot.vocabulary_file import load_library

MEDMNIST_2D = [name for name in INFO if not name.endswith("3d")]
IMAGE_OF = {
    "pathmnist": "colon histopathology",
    "chestmnist": "chest X-ray",
    "dermamnist": "dermoscopy",
    "octmnist": "retinal OCT",
    "pneumoniamnist": "chest X-ray",
    "retinamnist": "retinal fundus photograph",
    "breastmnist": "breast ultrasound",
    "bloodmnist": "blood cell microscopy",
    "tissuemnist": "kidney cortex microscopy",
    "organamnist": "abdominal CT",
    "organcmnist": "abdominal CT",
    "organsmnist": "abdominal CT",
}
UserFile = Callable[[str], Path]


@pytest.fixture
def user_file(tmp_path: Path) -> UserFile:
    def write(text: str) -> Path:
        file = tmp_path / "mine.yaml"
        file.write_text(text, encoding="utf-8")
        return file

    return write


def senses(classes: list[str], **options: object) -> list[str]:
    return [prompt.sense for prompt in class_prompts(classes, **options)]  # type: ignore[arg-type]


def texts_of(prompts: list[ClassPrompts], name: str) -> tuple[str, ...]:
    return next(prompt.texts for prompt in prompts if prompt.name == name)


# ---- senses ----


def test_chest_means_a_chest_x_ray_and_breast_a_breast_ultrasound():
    prompts = class_prompts(["chest", "breast"])
    assert [prompt.sense for prompt in prompts] == ["chest X-ray", "breast ultrasound"]
    chest = texts_of(prompts, "chest")
    assert {"chest X-ray", "a chest X-ray", "a radiograph of the chest", "image of a chest X-ray, PA view"} <= set(
        chest
    )
    assert "an ultrasound image of the breast" in texts_of(prompts, "breast")


def test_six_organs_are_six_kinds_of_image():
    assert senses(["chest", "breast", "blood", "skin", "retina", "brain"]) == [
        "chest X-ray",
        "breast ultrasound",
        "blood cell microscopy",
        "dermoscopy",
        "retinal fundus photograph",
        "brain MRI",
    ]


@pytest.mark.parametrize("name", MEDMNIST_2D)
def test_every_medmnist_label_is_known_and_lies_on_the_images_of_its_set(name: str):
    labels = list(INFO[name]["label"].values())
    assert all(sense.endswith(f"({IMAGE_OF[name]})") for sense in senses(labels))
    assert not any("not in the library" in sense for sense in senses(labels))


@pytest.mark.parametrize(
    ("classes", "image"),
    [
        (["normal", "pneumonia"], "chest X-ray"),
        (["normal", "benign", "malignant"], "breast ultrasound"),
        (["tumor", "no tumor"], "brain MRI"),
        (["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"], "dermoscopy"),
        (["melanoma", "nevus"], "dermoscopy"),
        (["BA", "EO", "ERB", "IG", "LY", "MO", "BNE", "SNE", "MY", "MMY", "PMY", "PLATELET"], "blood cell microscopy"),
        (["ADI", "BACK", "DEB", "LYM", "MUC", "MUS", "NORM", "STR", "TUM"], "colon histopathology"),
        (["glioma", "meningioma", "notumor", "pituitary"], "brain MRI"),
        (["covid", "normal", "viral pneumonia", "lung_opacity"], "chest X-ray"),
        (["tb", "healthy"], "chest X-ray"),
        (["cyst", "normal", "stone", "tumor"], "kidney CT"),
        (["hemorrhage", "normal"], "head CT"),
        (["CNV", "DME", "DRUSEN", "NORMAL"], "retinal OCT"),
        (["cataract", "normal", "glaucoma"], "retinal fundus photograph"),
        (["parasitized", "uninfected"], "blood cell microscopy"),
        (["polyp", "normal"], "colonoscopy image"),
        (["monkeypox", "other"], "clinical skin photograph"),
    ],
)
def test_words_with_many_senses_take_the_one_that_the_other_classes_suggest(classes: list[str], image: str):
    assert all(sense.endswith(f"({image})") for sense in senses(classes))


@pytest.mark.parametrize(
    ("folder", "image", "hint"),
    [
        ("chest_nih", "chest X-ray", ["chest X-ray"]),
        ("breast_busi", "breast ultrasound", None),
        ("chest_pneumonia", "chest X-ray", None),
        ("blood_pbc", "blood cell microscopy", None),
        ("skin_ham10000", "dermoscopy", None),
        ("brain_mri", "brain MRI", None),
    ],
)
def test_the_short_names_of_real_sets_are_known(data_dir: Path, folder: str, image: str, hint: list[str] | None):
    with (data_dir / "eval" / folder / "labels.csv").open() as file:
        classes = sorted({row["label"] for row in csv.DictReader(file)})
    assert all(sense.endswith(f"({image})") for sense in senses(classes, modality=hint))


def test_words_that_nothing_decides_keep_their_general_meaning():
    assert senses(["normal", "abnormal"]) == ["normal (general)", "abnormal (general)"]
    assert senses(["benign", "malignant"], modality="CT") == ["benign (CT)", "malignant (CT)"]


def test_a_stated_modality_decides_for_every_class():
    assert senses(["normal", "abnormal"], modality="CXR") == ["normal (chest X-ray)", "abnormal (chest X-ray)"]
    assert senses(["benign", "malignant"], modality="dermoscopy") == ["benign (dermoscopy)", "malignant (dermoscopy)"]
    assert senses(["pneumonia", "normal"], modality="ultrasound") == [
        "pneumonia (lung ultrasound)",
        "normal (lung ultrasound)",
    ]
    assert senses(["chest", "breast"], modality="mammogram") == ["chest X-ray", "mammogram"]
    sarcoid, normal = class_prompts(["sarcoid", "normal"], modality="chest CT")
    assert sarcoid.texts[0] == "chest CT showing sarcoid"
    assert normal.sense == "normal (chest CT)"


def test_kinds_of_image_found_in_the_folder_are_hints_that_must_make_sense():
    assert senses(["normal", "abnormal"], modality=["chest X-ray"]) == [
        "normal (chest X-ray)",
        "abnormal (chest X-ray)",
    ]
    assert senses(["chest", "breast"], modality=["mammogram", "chest X-ray"]) == ["chest X-ray", "mammogram"]
    assert (
        senses(["melanoma", "nevus"], modality=["clinical skin photograph"])[0] == "melanoma (clinical skin photograph)"
    )
    assert senses(["tumor", "cancer"], modality=["brain MRI"]) == ["tumor (general)", "malignant (general)"]
    wrong_hint = senses(["pneumonia", "normal"], modality=["hand X-ray"])
    assert wrong_hint == ["pneumonia (chest X-ray)", "normal (chest X-ray)"]


def test_names_of_modalities_are_classes_too():
    assert senses(["CT", "MR", "US", "CR"]) == ["CT", "MRI", "ultrasound", "x-ray"]


def test_an_unknown_class_follows_the_known_ones_or_else_the_general_templates():
    assert senses(["pneumonia", "silicosis"])[1] == "not in the library (chest X-ray)"
    assert "an image of gadget" in texts_of(class_prompts(["gadget", "widget"]), "gadget")


# ---- names ----


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("No_Tumour", "no tumor"),
        ("notumor", "no tumors"),
        ("covid19", "COVID-19"),
        ("femur-left", "femur left"),
        ("Crohn's disease", "crohns disease"),
        ("haemorrhage", "Hemorrhages"),
        ("keratoses", "keratosis"),
        ("OEDEMA", "edema"),
    ],
)
def test_spelling_does_not_matter(one: str, other: str):
    assert key(one) == key(other)
    assert load_library().find(one) == load_library().find(other)


def test_a_name_may_say_its_body_part_or_modality():
    assert senses(["normal chest", "gadget"])[0] == "normal (chest X-ray)"
    assert senses(["CT pneumonia", "gadget"])[0] == "pneumonia (chest CT)"


def test_negations_read_well():
    tumor, no_tumor = class_prompts(["tumor", "no tumor"])
    assert "brain MRI showing no tumor" in no_tumor.texts
    assert not set(tumor.texts) & set(no_tumor.texts)
    assert "an X-ray of the chest with clear lungs" in texts_of(class_prompts(["pneumonia", "normal"]), "normal")
    for name in ("no effusion", "non-effusion", "effusion negative", "effusion-"):
        assert "chest X-ray showing no pleural effusion" in texts_of(class_prompts(["effusion", name]), name)
    assert senses(["covid+", "covid-"]) == ["COVID-19 (chest X-ray)", "no COVID-19 (chest X-ray)"]


def test_a_name_that_is_one_term_of_a_wider_class_stands_for_itself():
    oncocytic, benign = class_prompts(["smooth oval benign mass", "benign"], modality="breast ultrasound")
    assert all("smooth oval benign mass" in text for text in oncocytic.texts)
    assert len(benign.texts) > len(oncocytic.texts)


# ---- sentences ----


def test_classes_of_one_call_use_the_same_templates():
    melanoma, nevus = class_prompts(["melanoma", "made-up lesion"])
    templates = {text.replace("made-up lesion", "{}") for text in nevus.texts}
    assert templates <= {text.replace("malignant melanoma", "{}") for text in melanoma.texts}


def test_a_modality_has_as_many_templates_as_the_next():
    assert {len(modality.templates) for modality in load_library().modalities} == {6}


def test_there_are_enough_sentences_and_not_too_many():
    for name in load_library().names:
        first, *_ = class_prompts([name, "something unheard of"])
        assert 3 <= len(first.texts) <= MAX_SENTENCES
        assert len(set(first.texts)) == len(first.texts)
        assert not any("{" in text or "  " in text or text != text.strip() for text in first.texts)


def test_the_same_call_gives_the_same_sentences():
    assert class_prompts(["chest", "normal", "x"]) == class_prompts(["chest", "normal", "x"])


def test_every_kind_of_image_has_sentences_of_its_own():
    kinds = modality_prompts()
    texts = [text for kind in kinds for text in kind.texts]
    assert len(set(texts)) == len(texts)
    assert {"chest X-ray", "breast ultrasound", "dermoscopy", "everyday photograph"} <= {kind.name for kind in kinds}
    for kind in kinds:
        assert senses(["normal", "abnormal"], modality=kind.name)[0].endswith(f"({kind.name})")


@settings(deadline=None)
@given(
    names=st.lists(
        st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30), min_size=2, max_size=5
    ),
    hint=st.sampled_from([None, "CT", "chest X-ray", ["dermoscopy", "brain MRI"], []]),
)
def test_any_names_give_distinct_sentences_that_say_the_name_or_its_terms(names: list[str], hint: object):
    assume(all(name.strip() for name in names))
    try:
        prompts = class_prompts(names, modality=hint)  # type: ignore[arg-type]
    except UsageError:
        assume(False)
    library = load_library()
    for prompt in prompts:
        known = [term for meaning in library.find(prompt.name) for term in meaning.terms]
        assert prompt.texts
        assert len(set(prompt.texts)) == len(prompt.texts)
        assert all(any(term in text for term in [*known, spoken(prompt.name)]) for text in prompt.texts)


@settings(deadline=None)
@given(st.lists(st.sampled_from(sorted(load_library().names)), min_size=2, max_size=6))
def test_any_known_names_give_sentences_without_an_overlap_between_classes(names: list[str]):
    try:
        prompts = class_prompts(names)
    except UsageError:  # two names of one class
        return
    assert [prompt.name for prompt in prompts] == names
    assert len({prompt.texts for prompt in prompts}) == len(names)


# ---- wrong calls ----


@pytest.mark.parametrize(
    ("classes", "sentence"),
    [
        ([], "at least two classes"),
        (["chest"], "only 'chest' was given"),
        (["chest", " "], "empty"),
        (["chest", "Chest"], "two names of one class"),
        (["x", "x"], "'x' is there twice"),
        (["nv", "mole"], "'nv' and 'mole' are two names of one class"),
        (["chest", "thorax"], "two names of one class"),
        ("chest", "came as one text"),
    ],
)
def test_class_lists_that_cannot_be_labelled_are_refused(classes: list[str], sentence: str):
    with pytest.raises(UsageError, match=sentence):
        class_prompts(classes)


def test_an_unknown_modality_is_refused_with_near_ones():
    with pytest.raises(UsageError, match="ultrasound"):
        class_prompts(["a", "b"], modality="ultrasond")


# ---- a user's own file ----


def test_the_shortest_file_gives_complete_sentences(user_file: UserFile):
    file = user_file("classes:\n  chest: [a chest film, a lung picture]\n")
    chest, breast = class_prompts(["chest", "breast"], file=file)
    assert chest.texts == ("a chest film", "a lung picture")
    assert breast.sense == "breast ultrasound"


def test_classes_of_the_file_win_over_the_library(user_file: UserFile):
    file = user_file(
        """
image: chest X-ray
classes:
  pneumonia:
    also: [PNA]
    terms: [lobar pneumonia]
  goitre:
    modality: ultrasound
    part: thyroid
    terms: [an enlarged thyroid]
"""
    )
    pneumonia, goitre = class_prompts(["pna", "goitre"], file=file)
    assert len(pneumonia.texts) == 6
    assert all("lobar pneumonia" in text for text in pneumonia.texts)
    assert goitre.texts[0] == "thyroid ultrasound showing an enlarged thyroid"
    assert senses(["pneumonia", "normal"], file=file)[1] == "normal (chest X-ray)"


def test_templates_modalities_and_kinds_of_image_of_the_file_win(user_file: UserFile):
    file = user_file(
        """
templates:
  general: ["{} seen in an image"]
modalities:
  x-ray:
    templates: ["{part} film: {}"]
  thermography:
    templates: ["thermogram of the {part}, {}"]
images:
  foot thermogram: {modality: thermography, part: foot, also: [thermal foot]}
together:
  - classes: [warm, cold]
    image: foot thermogram
"""
    )
    assert texts_of(class_prompts(["foo", "bar"], file=file), "foo") == ("foo seen in an image",)
    assert texts_of(class_prompts(["pneumonia", "foo"], file=file), "foo") == ("chest film: foo",)
    assert texts_of(class_prompts(["warm", "cold"], file=file), "warm") == ("thermogram of the foot, warm",)
    assert "foot thermogram" in {kind.name for kind in modality_prompts(file)}


def test_a_file_can_tell_apart_what_the_library_takes_for_one_class(user_file: UserFile):
    file = user_file("classes:\n  nv: [a flat nevus]\n  mole: [a raised mole]\n")
    assert [prompt.texts for prompt in class_prompts(["nv", "mole"], file=file)] == [
        ("a flat nevus",),
        ("a raised mole",),
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty"),
        ("classes: [chest", "not valid YAML at line"),
        ("classes: [chest, breast]", "classes cannot be used: expected entries of the form"),
        ("clases: {}", "unknown key 'clases' .did you mean 'classes'"),
        ("classes:\n  chest: {term: [x]}", "classes > chest cannot be used: unknown key 'term' .did you mean 'terms'"),
        ("classes:\n  chest: []", "classes > chest cannot be used: expected a list of words"),
        ("classes:\n  chest: [[x]]", "classes > chest cannot be used: expected a word or a sentence, found a list"),
        ("classes:\n  no: [x]", "put the word in quotes"),
        ("classes:\n  a: [x]\n  a: [y]", "'a' is there twice"),
        ("classes:\n  a: {part: knee}", "`part` needs a `modality`"),
        ("classes:\n  a: {modality: telepathy}", "there is no modality 'telepathy'"),
        ("image: chest Xray of mars\nclasses: {a: [x]}", "there is no kind of image"),
        ("templates: {general: [an image]}", "needs one {} for the term"),
        ("templates: {general: ['{} {organ}']}", "needs one {} for the term"),
        ("modalities: {new: {also: [x]}}", "a new modality needs `templates`"),
        ("images: {new: {part: foot}}", "a new kind of image needs a `modality`"),
        ("together: [{classes: [a, b]}]", "expected both `classes` and `image`"),
        ("together: [{classes: [a, b], image: nowhere}]", "there is no kind of image 'nowhere'"),
        ("just a text", "expected keys such as"),
    ],
)
def test_a_file_that_cannot_be_used_says_where_and_why(user_file: UserFile, text: str, sentence: str):
    file = user_file(text)
    with pytest.raises(InputError, match=sentence) as caught:
        class_prompts(["chest", "breast"], file=file)
    assert str(file) in str(caught.value)


def test_a_file_that_cannot_be_read_is_a_plain_sentence(tmp_path: Path):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        class_prompts(["chest", "breast"], file=tmp_path / "missing.yaml")
    (tmp_path / "picture.yaml").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(InputError, match="cannot be read: it is not a UTF-8 text"):
        class_prompts(["chest", "breast"], file=tmp_path / "picture.yaml")
