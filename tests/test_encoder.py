"""The encoder: every form of checkpoint, the same numbers as the libraries that the checkpoints come from."""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path
from typing import Any

import checkpoints
import numpy as np
import open_clip
import pytest
import torch
from checkpoints import VIT, open_clip_folder, timm_folder
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from autoannotate.errors import ModelError
from autoannotate.models.encoder import Encoder, _pixels, _second_order, load_encoder

TEXTS = ["a chest x-ray", "blood cells under the microscope", "a chest x-ray of a child"]


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test here may reach the network, and none may see what this machine's caches hold."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError("no network in this test")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture(scope="session")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return open_clip_folder(tmp_path_factory.mktemp("checkpoints") / "vit")


@pytest.fixture(scope="session")
def efficientnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return timm_folder(tmp_path_factory.mktemp("checkpoints") / "efficientnet")


def pictures(count: int, size: tuple[int, int] = (90, 60), mode: str = "RGB") -> list[Image.Image]:
    rng = np.random.default_rng(7)
    shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
    return [Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)) for _ in range(count)]


def pixels_seen(encoder: Encoder, image: Image.Image) -> torch.Tensor:
    """What the network is given of an image, (3, H, W)."""
    return encoder._normalised(np.stack([_pixels(image, encoder._geometry)]))[0]


def assert_unit_rows(array: np.ndarray) -> None:
    assert array.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(array, axis=1), 1, atol=1e-5)


def reference(model: str, images: list[Image.Image]) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of images and of TEXTS by open_clip alone."""
    network, preprocess = open_clip.create_model_from_pretrained(model)
    network.eval()
    with torch.inference_mode():
        image = network.encode_image(torch.stack([preprocess(image) for image in images]), normalize=True)
        text = network.encode_text(open_clip.get_tokenizer(model)(TEXTS), normalize=True)
    return image.numpy(), text.numpy()


# ---------------------------------------------------------------------------------------------------- what it returns


def test_images_and_texts_meet_in_one_space_of_unit_vectors(vit: Path) -> None:
    encoder = load_encoder(str(vit))
    encodings = encoder.encode_images(pictures(5))
    texts = encoder.encode_texts(TEXTS)
    assert encodings.embeddings.shape == (5, encoder.embed_dim) == (5, 48)
    assert texts.shape == (3, encoder.embed_dim)
    assert encodings.features.shape == (5, 128)
    for array in (encodings.embeddings, encodings.features, texts):
        assert_unit_rows(array)
    assert encoder.image_size == 32
    assert encoder.logit_scale == pytest.approx(1 / 0.07, rel=1e-4)


def test_embeddings_are_those_of_open_clip_itself(vit: Path, efficientnet: Path) -> None:
    for folder in (vit, efficientnet):
        encoder = load_encoder(str(folder))
        image, text = reference(f"local-dir:{folder}", pictures(3))
        np.testing.assert_allclose(encoder.encode_images(pictures(3)).embeddings, image, atol=1e-5)
        np.testing.assert_allclose(encoder.encode_texts(TEXTS), text, atol=1e-5)


def test_an_image_is_encoded_alike_in_any_company(efficientnet: Path) -> None:
    encoder = load_encoder(str(efficientnet))
    images = pictures(7)
    together = encoder.encode_images(images)
    for batch_size in (1, 3):
        apart = encoder.encode_images(images, batch_size=batch_size)
        np.testing.assert_allclose(apart.embeddings, together.embeddings, atol=1e-5)
        np.testing.assert_allclose(apart.features, together.features, atol=1e-5)


def test_the_same_images_give_the_same_bytes(efficientnet: Path) -> None:
    first = load_encoder(str(efficientnet)).encode_images(pictures(4))
    again = load_encoder(str(efficientnet)).encode_images(pictures(4))
    assert first.embeddings.tobytes() == again.embeddings.tobytes()
    assert first.features.tobytes() == again.features.tobytes()


def test_nothing_in_gives_empty_arrays_of_the_right_width(vit: Path) -> None:
    encoder = load_encoder(str(vit))
    assert encoder.encode_images([]).embeddings.shape == (0, 48)
    assert encoder.encode_images([]).features.shape == (0, 128)
    assert encoder.encode_texts([]).shape == (0, 48)


def test_images_are_drawn_lazily_so_that_memory_stays_bounded(vit: Path) -> None:
    drawn = 0
    started = []

    def images() -> Any:
        nonlocal drawn
        for image in pictures(40, (8, 8)):
            drawn += 1
            yield image

    encoder = load_encoder(str(vit))
    tower = encoder._tower
    encoder._tower = lambda pixels: (started.append(drawn), tower(pixels))[1]
    encoder.encode_images(images(), batch_size=4)
    assert drawn == 40
    assert all(ahead <= 4 * (batch + 2) for batch, ahead in enumerate(started))


def test_an_error_while_images_are_read_reaches_the_caller(vit: Path) -> None:
    def broken() -> Any:
        yield from pictures(3)
        raise ValueError("the fourth cannot be read")

    with pytest.raises(ValueError, match="the fourth cannot be read"):
        load_encoder(str(vit)).encode_images(broken(), batch_size=2)


# ------------------------------------------------------------------------------------------------------- preprocessing


@pytest.fixture(scope="module")
def by_resize_mode(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Encoder]:
    folder = tmp_path_factory.mktemp("resize")
    modes = ("shortest", "longest", "squash")
    cfg = {"mean": [0.3, 0.4, 0.5], "std": [0.2, 0.3, 0.4], "interpolation": "bilinear"}
    return {
        mode: load_encoder(str(open_clip_folder(folder / mode, preprocess={**cfg, "resize_mode": mode})))
        for mode in modes
    }


@settings(max_examples=30, deadline=None)
@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    mode=st.sampled_from(["RGB", "L", "RGBA", "P", "I;16"]),
    resize_mode=st.sampled_from(["shortest", "longest", "squash"]),
)
def test_an_image_of_any_size_is_prepared_as_the_checkpoint_says(
    by_resize_mode: dict[str, Encoder], width: int, height: int, mode: str, resize_mode: str
) -> None:
    image = pictures(1, (width, height))[0].convert("L" if mode == "I;16" else mode).convert(mode)
    encoder = by_resize_mode[resize_mode]
    tensor = pixels_seen(encoder, image)
    cfg = PreprocessCfg(**encoder._network.visual.preprocess_cfg)
    first_rgb = image if mode == "L" else image.convert("RGB")
    assert tensor.shape == (3, 32, 32)
    torch.testing.assert_close(tensor, image_transform_v2(cfg, is_train=False)(first_rgb), atol=1e-5, rtol=0)


def test_the_borders_of_an_oblong_image_are_seen_where_the_checkpoint_squashes(
    by_resize_mode: dict[str, Encoder],
) -> None:
    image = Image.new("L", (300, 100), 0)
    image.paste(255, (0, 0, 40, 100))  # a marker at the left border
    bright = {mode: float(pixels_seen(encoder, image).max()) for mode, encoder in by_resize_mode.items()}
    assert bright["squash"] > 1
    assert bright["longest"] > 1
    assert bright["shortest"] < 0


# ------------------------------------------------------------------------------------------------------------ features


@pytest.mark.parametrize(
    ("trunk", "options", "blocks"),
    [
        ("tf_efficientnet_lite0", {}, 2 * [16, 24, 40, 112, 320] + [136, 300, 512, 512, 512] + [1280]),
        ("resnet10t", {}, 2 * [64, 64, 128, 256, 512] + 5 * [512] + [512]),
        ("vit_tiny_patch16_224", {"timm_pool": "", "image_size": 224}, [192, 192]),
    ],
)
def test_features_join_equal_blocks_of_each_stage(
    tmp_path: Path, trunk: str, options: dict[str, Any], blocks: list[int]
) -> None:
    encoder = load_encoder(str(timm_folder(tmp_path / trunk, trunk, **options)))
    features = encoder.encode_images(pictures(3)).features
    assert features.shape == (3, sum(blocks))
    for block in np.split(features, np.cumsum(blocks)[:-1], axis=1):
        np.testing.assert_allclose(np.linalg.norm(block, axis=1), len(blocks) ** -0.5, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([0.0, 1e-3, 1.0, 1e3]), shift=st.sampled_from([0.0, 5.0]))
def test_what_varies_together_is_the_root_of_the_covariance(seed: int, scale: float, shift: float) -> None:
    rng = np.random.default_rng(seed)
    mixed = rng.standard_normal((8, 8)) @ rng.standard_normal((8, 49))
    maps = torch.from_numpy(scale * mixed + shift).float().reshape(1, 8, 7, 7)
    root = torch.zeros(8, 8)
    rows, columns = torch.triu_indices(8, 8)
    root[rows, columns] = root[columns, rows] = _second_order(maps)[0]
    expected = np.cov(mixed) / np.trace(np.cov(mixed)) if scale else np.zeros((8, 8))
    np.testing.assert_allclose((root @ root).numpy(), expected, atol=0.02)


def test_open_clips_own_resnet_gives_its_stages(tmp_path: Path) -> None:
    vision = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "patch_size": None}
    encoder = load_encoder(str(open_clip_folder(tmp_path / "resnet", vision)))
    assert encoder.encode_images(pictures(2)).features.shape == (2, 2 * (16 + 64 + 128 + 256 + 512) + 136 + 4 * 512)


def test_a_closer_look_tells_more_of_the_same_images_and_leaves_their_embeddings(efficientnet: Path) -> None:
    encoder = load_encoder(str(efficientnet))
    images = pictures(5)
    once, closer = encoder.encode_images(images), encoder.encode_images(images, closer=True)
    stages, together, last = [16, 24, 40, 112, 320], [136, 300, 512, 512, 512], 1280
    width = 3 * sum(stages) + sum(together) + last
    np.testing.assert_allclose(closer.embeddings, once.embeddings, atol=1e-5)
    assert closer.features.shape == (5, width)
    assert encoder.encode_images([], closer=True).features.shape == (0, width)
    assert_unit_rows(closer.features)

    first_look = closer.features[:, : sum(stages)] * (4 * len(stages) + 1) ** 0.5
    np.testing.assert_allclose(first_look, once.features[:, : sum(stages)] * (3 * len(stages) + 1) ** 0.5, atol=1e-5)
    apart = encoder.encode_images(images, batch_size=2, closer=True)
    np.testing.assert_allclose(apart.features, closer.features, atol=1e-5)


def test_what_only_a_closer_look_can_see_is_in_its_features(efficientnet: Path) -> None:
    encoder = load_encoder(str(efficientnet))
    rng = np.random.default_rng(0)
    fine = np.kron(rng.integers(0, 2, (112, 112)), [[0, 255], [255, 0]]).astype(np.uint8)  # a pixel wide
    coarse = np.asarray(Image.fromarray(fine).resize((encoder.image_size,) * 2).resize((224, 224)))
    images = [Image.fromarray(fine), Image.fromarray(coarse)]

    def likeness(closer: bool) -> float:
        one, other = encoder.encode_images(images, closer=closer).features
        return float(one @ other)

    assert likeness(closer=True) < likeness(closer=False)


def test_a_tower_of_one_size_only_is_not_asked_to_look_closer(vit: Path) -> None:
    encoder = load_encoder(str(vit))
    assert not encoder.looks_closer
    once, closer = encoder.encode_images(pictures(3)), encoder.encode_images(pictures(3), closer=True)
    np.testing.assert_allclose(closer.features, once.features, atol=1e-6)


def test_a_tower_that_shows_no_stages_gives_its_embedding_as_features(vit: Path) -> None:
    class Opaque(torch.nn.Module):
        def __init__(self, visual: torch.nn.Module) -> None:
            super().__init__()
            self.inner, self.preprocess_cfg = visual, visual.preprocess_cfg

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return self.inner(pixels)

    network = open_clip.create_model(f"local-dir:{vit}").eval()
    network.visual = Opaque(network.visual)
    encoder = Encoder(network, open_clip.get_tokenizer(f"local-dir:{vit}"), name="opaque", weights_hash="")
    encodings = encoder.encode_images(pictures(3))
    np.testing.assert_allclose(encodings.features, encodings.embeddings, rtol=1e-5, atol=1e-7)


# ------------------------------------------------------------------------------------------------- forms of checkpoints


def test_a_checkpoint_of_open_clips_training_loads_by_architecture_and_path(tmp_path: Path) -> None:
    file = checkpoints.training_checkpoint(tmp_path / "epoch_10.pt", "ViT-M-32-alt")
    encoder = load_encoder(f"ViT-M-32-alt@{file}")
    trained = checkpoints.network("ViT-M-32-alt")
    pixels = torch.stack([pixels_seen(encoder, image) for image in pictures(2)])
    with torch.inference_mode():
        expected = trained.encode_image(pixels, normalize=True).numpy()
    np.testing.assert_allclose(encoder.encode_images(pictures(2)).embeddings, expected, atol=1e-5)
    assert encoder.weights_hash == hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_lone_file_with_its_config_beside_it_needs_no_architecture(vit: Path) -> None:
    by_file = load_encoder(str(vit / "open_clip_model.safetensors"))
    by_folder = load_encoder(f"local-dir:{vit}")
    assert by_file.weights_hash == by_folder.weights_hash
    np.testing.assert_array_equal(by_file.encode_texts(TEXTS), by_folder.encode_texts(TEXTS))


def test_biomedclips_form_loads_without_the_config_of_its_text_tower(tmp_path: Path) -> None:
    folder = checkpoints.biomedclip_folder(tmp_path / "biomedclip")
    encoder = load_encoder(str(folder))
    assert_unit_rows(encoder.encode_images(pictures(2)).features)
    texts = encoder.encode_texts(["chest x-ray", "Chest  X-Ray", "blood cells"])
    np.testing.assert_allclose(texts[0], texts[1], atol=1e-6)  # PubMedBERT's tokenizer lowers case
    assert np.abs(texts[0] - texts[2]).max() > 1e-3
    text_tower = encoder._network.text.transformer.config
    assert {key: getattr(text_tower, key) for key in checkpoints.BERT} == checkpoints.BERT


@pytest.mark.slow
def test_biomedclip_at_its_true_size(tmp_path: Path) -> None:
    bert = {"vocab_size": 30522, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12}
    bert |= {"intermediate_size": 3072, "max_position_embeddings": 512}
    folder = checkpoints.biomedclip_folder(tmp_path / "biomedclip", bert, "vit_base_patch16_224")
    encoder = load_encoder(str(folder))
    assert encoder._network.text.transformer.config.num_attention_heads == 12
    assert encoder.encode_images(pictures(2)).features.shape == (2, 2 * 768)
    assert_unit_rows(encoder.encode_texts(TEXTS))


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
@pytest.mark.parametrize("weights", ["pytorch_model.bin", "model.safetensors"])
def test_a_clip_of_transformers_gives_the_numbers_of_transformers(
    tmp_path: Path, activation: str, weights: str
) -> None:
    theirs = checkpoints.transformers_clip(tmp_path / "pubmedclip", activation, weights)
    encoder = load_encoder(str(tmp_path / "pubmedclip"))
    pixels = torch.stack([pixels_seen(encoder, image) for image in pictures(2)])
    tokens = open_clip.get_tokenizer("ViT-B-32")(TEXTS)
    with torch.inference_mode():
        out = theirs(input_ids=tokens, pixel_values=pixels)
    np.testing.assert_allclose(encoder.encode_images(pictures(2)).embeddings, out.image_embeds, atol=1e-5)
    np.testing.assert_allclose(encoder.encode_texts(TEXTS), out.text_embeds, atol=1e-5)
    assert encoder.logit_scale == pytest.approx(float(theirs.logit_scale.detach().exp()), rel=1e-5)


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_openais_torchscript_archive_loads_as_quick_gelu(tmp_path: Path) -> None:
    state = checkpoints.network("ViT-M-32-alt").state_dict()
    state |= {key: torch.tensor(1) for key in ("input_resolution", "context_length", "vocab_size")}

    class Archive(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, tensor in state.items():
                place: torch.nn.Module = self
                *modules, last = name.split(".")
                for module in modules:
                    if not hasattr(place, module):
                        place.add_module(module, torch.nn.Module())
                    place = getattr(place, module)
                place.register_buffer(last, tensor)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    torch.jit.script(Archive()).save(tmp_path / "ViT.pt")
    encoder = load_encoder(f"ViT-M-32-alt@{tmp_path / 'ViT.pt'}")
    assert type(encoder._network.transformer.resblocks[0].mlp.gelu).__name__ == "QuickGELU"
    torch.testing.assert_close(encoder._network.visual.proj.detach(), state["visual.proj"])


def test_a_model_in_the_hubs_cache_loads_without_the_network(tmp_path: Path) -> None:
    folder = checkpoints.biomedclip_folder(tmp_path / "model")
    checkpoints.in_hub_cache(folder, tmp_path / "hub", "microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224")
    encoder = load_encoder("biomedclip")
    assert encoder.name == "biomedclip"
    assert_unit_rows(encoder.encode_texts(TEXTS))


def test_weights_of_an_open_clip_tag_are_found_in_the_hubs_cache(tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    state = checkpoints.network("ViT-B-32-quickgelu").state_dict()
    torch.save({name: tensor.half() for name, tensor in state.items()}, folder / "open_clip_pytorch_model.bin")
    checkpoints.in_hub_cache(folder, tmp_path / "hub", "timm/vit_base_patch32_clip_224.openai")
    encoder = load_encoder("openai-b32")
    assert type(encoder._network.transformer.resblocks[0].mlp.gelu).__name__ == "QuickGELU"
    assert_unit_rows(encoder.encode_texts(TEXTS))


# -------------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("biomedclip", "weights of biomedclip .* are not on this machine .* cannot be reached: .*embedded.*local"),
        ("ViT-B-32/openai", "not on this machine .* cannot be reached"),
        ("hf-hub:nobody/nothing", "not on this machine .* cannot be reached"),
        ("hf-hub:a/b/c", "names no repository of the Hugging Face hub"),
        ("biomedclib", r"no model and no path biomedclib \(did you mean biomedclip"),
        ("no/such/path", "no model and no path no/such/path"),
        ("ViT-B-32", "has ViT-B-32/openai, .*embedded.*local checkpoint"),
        ("ViT-B-32/opena", "no weights opena for ViT-B-32, but has ViT-B-32/openai"),
        ("ViT-B-33@weights.pt", r"no architecture ViT-B-33 \(did you mean ViT-B-32"),
        ("ViT-B-32@weights.pt", "no file weights.pt"),
    ],
)
def test_a_model_that_cannot_be_had_is_one_sentence_and_soon(model: str, message: str) -> None:
    with pytest.raises(ModelError, match=message) as refusal:
        load_encoder(model)
    assert "\n" not in str(refusal.value)


def test_a_folder_without_a_model_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no CLIP model.*open_clip_config.json.*embedded"):
        load_encoder(str(tmp_path))


def test_a_config_without_weights_says_so(vit: Path, tmp_path: Path) -> None:
    (tmp_path / "open_clip_config.json").write_text((vit / "open_clip_config.json").read_text())
    with pytest.raises(ModelError, match="holds no weights"):
        load_encoder(str(tmp_path))


def test_a_file_alone_is_asked_for_its_architecture(tmp_path: Path) -> None:
    (tmp_path / "epoch_1.pt").write_bytes(b"anything")
    with pytest.raises(ModelError, match="name it in front, as in ViT-B-32@"):
        load_encoder(str(tmp_path / "epoch_1.pt"))


def test_weights_of_another_architecture_are_refused(vit: Path, tmp_path: Path) -> None:
    other = open_clip_folder(tmp_path / "other", {**VIT, "width": 96, "head_width": 48})
    (other / "open_clip_config.json").write_text((vit / "open_clip_config.json").read_text())
    with pytest.raises(ModelError, match="do not fit the architecture of"):
        load_encoder(str(other))


@pytest.mark.parametrize("name", ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"])
def test_a_broken_file_is_named(vit: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "open_clip_config.json").write_text((vit / "open_clip_config.json").read_text())
    (tmp_path / name).write_bytes(b"\x00" * 100)
    with pytest.raises(ModelError, match=f"{name} cannot be read as a checkpoint"):
        load_encoder(str(tmp_path))


def test_a_pickle_that_could_run_code_is_refused_and_does_not_run(vit: Path, tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "ran",))

    (tmp_path / "open_clip_config.json").write_text((vit / "open_clip_config.json").read_text())
    torch.save({"state_dict": Attack()}, tmp_path / "open_clip_pytorch_model.bin")
    with pytest.raises(ModelError, match="could run code hidden in it"):
        load_encoder(str(tmp_path))
    assert not (tmp_path / "ran").exists()


def test_a_text_tower_without_its_tokenizer_asks_for_the_files(tmp_path: Path) -> None:
    folder = checkpoints.biomedclip_folder(tmp_path / "biomedclip")
    (folder / "vocab.txt").unlink()
    with pytest.raises(ModelError, match=r"tokenizer of .* put its files .*vocab.txt.* into"):
        load_encoder(str(folder))


@pytest.mark.parametrize("device", ["cuda:7", "tpu", "gpu"])
def test_a_device_that_is_not_here_is_refused_with_those_that_are(device: str, vit: Path) -> None:
    with pytest.raises(ModelError, match=rf"no device {device}: choose one of auto, .*cpu"):
        load_encoder(str(vit), device=device)


def test_loading_says_nothing(vit: Path, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder) -> None:
    load_encoder(str(vit)).encode_texts(TEXTS)
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list


# ---------------------------------------------------------------------------------------------- the model in the package


@pytest.fixture(scope="session")
def embedded() -> Encoder:
    from autoannotate.models import EMBEDDED

    if not (EMBEDDED / "open_clip_model.safetensors").is_file():
        pytest.skip("this checkout holds no embedded checkpoint")
    return load_encoder()


def test_the_embedded_model_loads_offline_by_default(embedded: Encoder) -> None:
    assert embedded.name == "embedded"
    assert embedded.encode_images(pictures(3)).features.shape[1] > embedded.embed_dim
    assert_unit_rows(embedded.encode_texts(TEXTS))


def test_the_embedded_model_is_what_open_clip_itself_loads(embedded: Encoder) -> None:
    from autoannotate.models import EMBEDDED

    image, text = reference(f"local-dir:{EMBEDDED}", pictures(3))
    np.testing.assert_allclose(embedded.encode_images(pictures(3)).embeddings, image, atol=1e-4)
    np.testing.assert_allclose(embedded.encode_texts(TEXTS), text, atol=1e-4)
