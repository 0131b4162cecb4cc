"""Makes tests/tiny, a BERT with made-up weights, and tests/tiny.json, what it should compute; and the same as a
cross-encoder, tests/cross and tests/cross.json.

Written with nothing but Python's standard library from the definition of BERT (Devlin et al.,
https://arxiv.org/abs/1810.04805, and the layout of its weights in transformers), so that it shares
no code and no library with what it checks. Run it in this directory: python3 tiny.py
"""

import json
import math
import os
import struct

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "red", "green", "blue", "flow", "##s", "."]
VOCABULARY, HIDDEN, HEADS, LAYERS, WIDE, POSITIONS, TYPES = len(WORDS), 8, 2, 2, 16, 12, 2
EPSILON = 1e-12
TENSORS = {}


def tensor(name, rows, columns, scale, around=0.0):
    """Numbers without a pattern, rounded to what float32 holds."""
    seed = sum(ord(c) * 31**i for i, c in enumerate(name)) % 9973
    count = rows * (columns or 1)
    flat = [around + scale * math.sin(seed + 12.9898 * k) for k in range(count)]
    flat = list(struct.unpack(f"<{count}f", struct.pack(f"<{count}f", *flat)))
    TENSORS[name] = ([rows, columns] if columns else [rows], flat)


def make():
    for what, rows in [("word", VOCABULARY), ("position", POSITIONS), ("token_type", TYPES)]:
        tensor(f"embeddings.{what}_embeddings.weight", rows, HIDDEN, 0.8)
    norms = ["embeddings.LayerNorm"]
    for n in range(LAYERS):
        layer = f"encoder.layer.{n}"
        for part, out, into in [
            ("attention.self.query", HIDDEN, HIDDEN),
            ("attention.self.key", HIDDEN, HIDDEN),
            ("attention.self.value", HIDDEN, HIDDEN),
            ("attention.output.dense", HIDDEN, HIDDEN),
            ("intermediate.dense", WIDE, HIDDEN),
            ("output.dense", HIDDEN, WIDE),
        ]:
            tensor(f"{layer}.{part}.weight", out, into, 0.6)
            tensor(f"{layer}.{part}.bias", out, None, 0.3)
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
    for norm in norms:
        tensor(f"{norm}.weight", HIDDEN, None, 0.2, 1.0)
        tensor(f"{norm}.bias", HIDDEN, None, 0.1)


def linear(name, rows):
    (_, columns), weight = TENSORS[f"{name}.weight"]
    bias = TENSORS[f"{name}.bias"][1]
    return [
        [sum(x * weight[o * columns + i] for i, x in enumerate(row)) + b for o, b in enumerate(bias)]
        for row in rows
    ]


def norm(name, rows):
    weight, bias = TENSORS[f"{name}.weight"][1], TENSORS[f"{name}.bias"][1]
    done = []
    for row in rows:
        mean = sum(row) / len(row)
        variance = sum((x - mean) ** 2 for x in row) / len(row)
        done.append([(x - mean) / math.sqrt(variance + EPSILON) * w + b
                     for x, w, b in zip(row, weight, bias)])
    return done


def add(left, right):
    return [[a + b for a, b in zip(x, y)] for x, y in zip(left, right)]


def attend(layer, rows):
    depth = HIDDEN // HEADS
    q, k, v = (linear(f"{layer}.attention.self.{part}", rows) for part in ("query", "key", "value"))
    mixed = [[0.0] * HIDDEN for _ in rows]
    for head in range(0, HIDDEN, depth):
        part = range(head, head + depth)
        for i in range(len(rows)):
            scores = [sum(q[i][d] * k[j][d] for d in part) / math.sqrt(depth) for j in range(len(rows))]
            shares = [math.exp(s - max(scores)) for s in scores]
            for d in part:
                mixed[i][d] = sum(s * v[j][d] for j, s in enumerate(shares)) / sum(shares)
    return mixed


def encode(tokens, second=None):
    def row(kind, n):
        flat = TENSORS[f"embeddings.{kind}_embeddings.weight"][1]
        return flat[n * HIDDEN:(n + 1) * HIDDEN]

    rows = [[a + b + c for a, b, c in zip(row("word", t), row("position", n), row("token_type", 0 if second is None or n < second else 1))]
            for n, t in enumerate(tokens)]
    rows = norm("embeddings.LayerNorm", rows)
    for n in range(LAYERS):
        layer = f"encoder.layer.{n}"
        attended = linear(f"{layer}.attention.output.dense", attend(layer, rows))
        rows = norm(f"{layer}.attention.output.LayerNorm", add(attended, rows))
        wide = linear(f"{layer}.intermediate.dense", rows)
        wide = [[0.5 * x * (1 + math.erf(x / math.sqrt(2))) for x in r] for r in wide]
        rows = norm(f"{layer}.output.LayerNorm", add(linear(f"{layer}.output.dense", wide), rows))
    return rows


def dump(path, value):
    with open(path, "w") as file:
        json.dump(value, file, indent=1)
        file.write("\n")


def config():
    return {
        "model_type": "bert", "hidden_act": "gelu", "hidden_size": HIDDEN, "intermediate_size": WIDE,
        "layer_norm_eps": EPSILON, "max_position_embeddings": POSITIONS, "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS, "type_vocab_size": TYPES, "vocab_size": VOCABULARY}


def dump_tokenizer(directory):
    dump(f"{directory}/tokenizer.json", {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [
            {"id": n, "content": WORDS[n], "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False, "special": True} for n in range(4)],
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                       "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": {w: n for n, w in enumerate(WORDS)}}})


def dump_weights(directory, prefix=""):
    header, data = {}, b""
    for name, (shape, flat) in TENSORS.items():
        start = len(data)
        data += struct.pack(f"<{len(flat)}f", *flat)
        name = name if name.startswith("classifier") else prefix + name
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, len(data)]}
    header = json.dumps(header).encode()
    with open(f"{directory}/model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header + data)


def write():
    os.makedirs("tiny/1_Pooling", exist_ok=True)
    dump("tiny/config.json", config())
    package = "sentence_transformers.models"
    dump("tiny/modules.json", [
        {"idx": 0, "name": "0", "path": "", "type": f"{package}.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": f"{package}.Pooling"}])
    dump("tiny/1_Pooling/config.json", {
        "word_embedding_dimension": HIDDEN, "pooling_mode_cls_token": True,
        "pooling_mode_mean_tokens": False})
    dump("tiny/sentence_bert_config.json", {"max_seq_length": POSITIONS, "do_lower_case": False})
    dump("tiny/config_sentence_transformers.json", {"prompts": {"query": "flow . "}})
    dump_tokenizer("tiny")
    dump_weights("tiny")
    cases = []
    for text, words in [
        ("Red", ["red"]),
        ("green flows.", ["green", "flow", "##s", "."]),
        ("blue, red", ["blue", "[UNK]", "red"]),
        ("flow " * 40, ["flow"] * (POSITIONS - 2)),
    ]:
        tokens = [WORDS.index(w) for w in ["[CLS]", *words, "[SEP]"]]
        rows = encode(tokens)
        cases.append({"text": text, "tokens": len(tokens), "cls": rows[0],
                      "mean": [sum(column) / len(rows) for column in zip(*rows)]})
    dump("tiny.json", cases)


def write_cross():
    """A cross-encoder reads two texts as one: a question and what may answer it (Nogueira and Cho,
    https://arxiv.org/abs/1901.04085)."""
    os.makedirs("cross", exist_ok=True)
    for part, out, into in [("pooler.dense", HIDDEN, HIDDEN), ("classifier", 1, HIDDEN)]:
        tensor(f"{part}.weight", out, into, 0.7)
        tensor(f"{part}.bias", out, None, 0.3)
    dump("cross/config.json", {**config(), "id2label": {"0": "LABEL_0"}})
    dump("cross/tokenizer_config.json", {"model_max_length": POSITIONS})
    dump_tokenizer("cross")
    dump_weights("cross", "bert.")
    cases = []
    for question, text, first, second in [
        ("red", "blue flows", ["red"], ["blue", "flow", "##s"]),
        ("blue flows", "red", ["blue", "flow", "##s"], ["red"]),
        ("Green.", "other", ["green", "."], ["[UNK]"]),
        # The longer text is cut off.
        ("red", "flow " * 40, ["red"], ["flow"] * (POSITIONS - 4)),
    ]:
        words = ["[CLS]", *first, "[SEP]", *second, "[SEP]"]
        rows = encode([WORDS.index(w) for w in words], len(first) + 2)
        pooled = [[math.tanh(x) for x in linear("pooler.dense", rows[:1])[0]]]
        cases.append({"question": question, "text": text, "score": linear("classifier", pooled)[0][0]})
    dump("cross.json", cases)


make()
write()
write_cross()
