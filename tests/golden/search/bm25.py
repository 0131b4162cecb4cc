"""Writes bm25.json: the scores that the Python package bm25s gives, with Lucene's formula.

    pip install bm25s==0.3.16 && python3 bm25.py > bm25.json
"""

import json

import bm25s

DOCUMENTS = [
    "knead the dough and let the dough rise",
    "the moon pulls the sea and the sea pulls the moon",
    "bake the bread in a hot oven",
    "a ship at sea needs the wind the sail and the sea",
    "bread bread bread bread bread bread bread bread bread and butter",
    "the the the the the the the the the",
    "wind",
    "the wind in the sail moves the ship and the oven stays cold",
    "nothing of this is said in any other text here",
    "dough rises in the oven",
]
QUERIES = ["bread", "the sea", "dough oven", "wind in the sail", "sea sea moon", "unknown", "unknown bread"]
PARAMETERS = [(1.2, 0.75), (2.0, 0.0), (0.5, 1.0)]

golden = []
for k1, b in PARAMETERS:
    retriever = bm25s.BM25(method="lucene", k1=k1, b=b)
    retriever.index([document.split() for document in DOCUMENTS], show_progress=False)
    for query in QUERIES:
        scores = retriever.get_scores(query.split())
        golden.append({"k1": k1, "b": b, "query": query, "scores": [round(float(s), 6) for s in scores]})
print(json.dumps({"documents": DOCUMENTS, "golden": golden}, indent=1))
