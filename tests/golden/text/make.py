"""Makes the golden files of core/src/text, and the tables of Unicode properties there.

The answers come from the packages that Python pgai uses, never from this project:

    python3.11 -m venv /tmp/venv
    /tmp/venv/bin/pip install langchain-text-splitters==0.3.11 'psycopg[binary]==3.3.*'
    /tmp/venv/bin/python tests/golden/text/make.py chunks      # chunks.json, regexes.json
    /tmp/venv/bin/python tests/golden/text/make.py templates   # templates.json
    /tmp/venv/bin/python tests/golden/text/make.py values postgres://postgres@localhost/postgres
    /tmp/venv/bin/python tests/golden/text/make.py unicode     # core/src/text/unicode.rs

`live SEED COUNT` prints as many fresh cases as asked for, one JSON object a line, in the form of
those in chunks.json (with the text itself in place of its number), for a comparison without files.

Equal versions of Python (3.11) and of the packages give equal files. `values` only reads: it needs
PostgreSQL 14 or later, and no table.
"""

import json
import logging
import random
import signal
import string
import sys
import warnings
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent.parent

# --- texts -------------------------------------------------------------------------------------

WORDS = """the a of and chunk text row vector database index query word sentence paragraph page
schön größer naïve façade Ünïcödé İstanbul ıssız ſtraße ǅungla Ω K Å ΣΊΣΥΦΟΣ ς σ привет мир
שלום عالم مرحبا 日本語 の 文章 漢字 한국어 ไทย हिन्दी x y z 1 22 333 4.5 1,000 a1b2 c_3 _ __ ٣٤ ② Ⅷ ½ 𝟘𝟙 𐐀𐐨
foo@example.org http://example.org/?a=b&c=d #tag $name ${name} $$ (a) [b] {c} <d> e\\f g|h i*j k+l
""".split()
ACCENTS = ["e\u0301", "a\u0308\u0323", "\u0301", "n\u0303\u0303\u0303", "\u1e9b\u0323", "ﬁ", "\ufb05"]
EMOJI = ["😀", "👩‍👩‍👧‍👦", "🏳️‍🌈", "👍🏽", "🇩🇪", "❤️", "1️⃣", "🧑🏿‍🚀"]
SPACES = [" ", "  ", "\t", "\u00a0", "\u3000", "\u2009", "\u200b", "\ufeff", "\u180e", "\u2028",
          "\u2029", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x1f", "\x85"]
BREAKS = ["\n", "\n\n", "\n\n\n", "\r\n", "\r\n\r\n", "\r", "\n \n", ".\n", "\n\t"]
POINTS = [".", ". ", "? ", "! ", ", ", "; ", "。", "！", "...", "?!", "-", "—", "¿", "…"]


def make_text(rng, limit=400):
    kind = rng.random()
    length = rng.randrange(1, limit) if rng.random() < 0.9 else rng.randrange(0, 20)
    if kind < 0.05:  # one long line
        return "".join(rng.choice(rng.choice([string.ascii_letters, "äßéñ", "日本語"])) for _ in range(length))
    if kind < 0.10:  # few kinds of characters
        alphabet = rng.choice(["ab", "a \n", ".a", "\n", " ", "ab1 ", "aA\r\n", "a.b?c! "])
        return "".join(rng.choice(alphabet) for _ in range(length))
    weights = [rng.random() ** 2 * w for w in (6, 5, 2, 2, 1, 1, 1)]
    out, size = [], 0
    while size < length:
        which = rng.choices(range(7), weights)[0]
        if which == 0:
            piece = rng.choice(WORDS) + (" " if rng.random() < 0.7 else "")
        elif which == 1:
            piece = " " if rng.random() < 0.8 else rng.choice(SPACES)
        elif which == 2:
            piece = rng.choice(BREAKS)
        elif which == 3:
            piece = rng.choice(POINTS)
        elif which == 4:
            piece = rng.choice(ACCENTS)
        elif which == 5:
            piece = rng.choice(EMOJI)
        else:
            piece = rng.choice("ab") * rng.randrange(1, 30)
        out.append(piece)
        size += len(piece)
    return "".join(out)[:limit]


# --- regexes -----------------------------------------------------------------------------------

REGEXES = r"""
\n\n+ \s+ \S+ \d+ \D+ \w+ \W+ \b \B [.!?] [.!?]\s+ (?<=[.!?])\s+ (?<=[.!?]) (?=\n) (?=[A-Z]) (?!a)
(?<!a)b (?<=\.)\s*(?=\w) (?<=a|b)c (?<=^a)b \n(?=\S) ^ $ \Z \A (?m)^ (?m)$ (?m:^) (?m:$) (?m:^#+\s) (?s:.) . .*
.+ .? a* a*? a+? a?? a{2} a{2,} a{,2} a{2,3} a{2,3}? a{,} a{ a{} a{x} a{1 {a} (?:a|b)+ (?:ab|a)(?:c|bcd)? a|b|
|a (?:a|) (?:|a)+ (?:a?)+ (?:a*)* (?:a*)+ (?:a*?)+? (?:\s|\n)+ [^\S\n]+ [\s\d] [^\w\s] [\W_] [^a] [^]a] []] [\]] [a-] [-a]
[a\-z] [+--] [\b] [\n\r] [\x1c-\x1f] [\u00e0-\u00ff] [\u3040-\u30ff\u4e00-\u9fff]+ [\U0001F600-\U0001F64F] [\ud800-\udfff]
\x41 \u0041 \U00000041 \101 \0 \07 \x1c \u2028 \. \- \\ \t \v \f \a (?i:straSSe) (?i:ſ) (?i:s) (?i:k) (?i:K) (?i:å)
(?i:i) (?i:İ) (?i:ı) (?i:[a-z]+) (?i:[A-Z]+) (?i:[^a-z]+) (?i:[i]) (?i:[^I]) (?i:σ) (?i:[Σ]) (?i:ß) (?i:ẞ) (?i:ǆ) (?i:ﬅ)
(?i:𐐀) (?i:[𐐀-𐐧]) (?i:ω) (?i:θ) (?i:µ) (?i:[\u0130-\u0131]) (?a:\w+) (?a:\s+) (?a:\d+) (?a:\b) (?ai:k) (?ai:[a-z]+)
(?i)a (?s).+ (?x)\ a (?x:a\ b) (?x:a#b) (?-i:a) (?i:a(?-i:b)) (?is-m:a.b) (?u:\w)
(a) (a|b) (\s+) (a)|b (a)? (a)(b)? (a(b)) (?P<x>a) (?P<x>\w)(?P=x) (\w)\1 (?:(\w)\1) (?:(?P<q>a)|b)(?(q)b|a)
(?P<y>\w)(?i:(?P=y)) (a)?(?(1)b|c) (?(1)a|b) (?>a+) (?>a|ab)c a++ a*+ a?+ a{1,2}+ (?:ab)*+ (?>\s*)\n (?=(a))b (?!(a))b
(?:(?=a)|b) (?:a(?=b))+ (?<=(?:a|b))c (?<!\w)\w (?<![a-z])[A-Z] (?<=ab)(?<!b) (?=.*\n) (?<=\s)(?=\S) (?<=\S)(?=\s)
(?#comment)a a(?#x)* \w+(?:'\w+)? \d{1,3}(?:,\d{3})* <[^>]+> \[\w+\] #{1,6}\s \|? \r?\n \r\n|\r|\n \R? \s*\n\s*
\n{2,}|\.\s \n\s*\n (?:\r?\n){2,} (?:[^.!?]|\.\d)+[.!?] [①-⑨] [½⅓] \u00a0 [\s]+ [^\s]+ [\d]+ [^\d]+ \d\b \b\w
""".split() + ["", " ", "(?x: a b # c\n)", "(?x: [ ] )", "a #b", "(?x)a # b\nc"]
WRONG = r"""
( ) [ a) (a * + ? a** a*** a+* a{1}{2} ^* $+ \b? (?:)) \q \z \y \1 (a\1) (?P=x) (?P<x>a)(?P<x>b) (?P<1>a) (?P<>a) (?P>x) (?<x>a)
(?<=a+) (?<=a|bc) (?<=a*)b (?<=(a)\1) [b-a] [\d-a] [a-\w] [\q] [\8] \x \x1 \u12 \U00110000 \U0000 \400 [\400] (?i (?i-:a) (?-a:b) (?au:x)
(?L:a) (?z) (?'x'a) (?(1a) (?(0)a) (?(2)a|b)(x) (?(1)a|b|c)(x) (?(zz)a) (?# a(?i)b a{3,2} a{99999999999} (?P (?P<x (?<a) (?<
\ [\ [a- [a \N{DIGIT}x (?=a (?!
""".split()


def make_regex(rng, depth=0):
    atoms = ["a", "b", "c", " ", r"\n", ".", r"\w", r"\s", r"\d", r"\W", r"\S", "[ab]", "[^a]", r"[\s.]", "[a-z]",
             "é", "日", r"\.", r"\b", "^", "$", r"\Z", "x", "1", r"\x1c", "[A-Z]", r"\B"]
    if depth > 3 or rng.random() < 0.45:
        regex = rng.choice(atoms)
        zero_width = regex in (r"\b", r"\B", "^", "$", r"\Z")
    else:
        zero_width = False
        inner = make_regex(rng, depth + 1)
        kind = rng.random()
        if kind < 0.25:
            regex = inner + make_regex(rng, depth + 1)
            return regex
        elif kind < 0.45:
            regex = f"(?:{inner}|{make_regex(rng, depth + 1)})"
        elif kind < 0.52:
            regex = f"({inner})"
        elif kind < 0.60:
            regex = f"(?:{inner})"
        elif kind < 0.66:
            regex = f"(?={inner})"
        elif kind < 0.70:
            regex = f"(?!{inner})"
        elif kind < 0.76:
            regex = f"(?<={rng.choice(atoms)})"
        elif kind < 0.80:
            regex = f"(?<!{rng.choice(atoms)})"
        elif kind < 0.86:
            regex = f"(?i:{inner})"
        elif kind < 0.90:
            regex = f"(?>{inner})"
        elif kind < 0.94:
            regex = f"(?m:{inner})"
        else:
            regex = f"{inner}|{make_regex(rng, depth + 1)}" if depth == 0 else inner
            return regex
    if not zero_width and rng.random() < 0.4:
        regex = f"(?:{regex})" if len(regex) > 2 and regex[0] not in "([" else regex
        regex += rng.choice(["*", "+", "?", "*?", "+?", "??", "{2}", "{1,2}", "{,2}", "{2,}", "*+", "++", "?+"])
    return regex


# --- settings ----------------------------------------------------------------------------------

LITERALS = ["\n\n", "\n", " ", "", ".", ". ", "?", "!", "\r\n", ",", "a", "ab", "é", "e\u0301", "日", "‍", "😀", "\t",
            "\x1c", "\u00a0", "\u2028", "$", "(", "a|b", "[", "\\", "\\d", "...", "the", "  ", "\n \n", "aa"]
DEFAULTS = ["\n\n", "\n", ".", "?", "!", " ", ""]


def make_sizes(rng):
    size = rng.choice([1, 2, 3, 5, 8, 10, 20, 20, 40, 40, 80, 100, 200]) if rng.random() < 0.7 else rng.randrange(1, 90)
    kind = rng.random()
    overlap = 0 if kind < 0.3 else size if kind < 0.35 else size // 2 if kind < 0.5 else rng.randrange(0, size + 1)
    return size, overlap


def make_separator(rng, is_regex):
    if not is_regex:
        return rng.choice(LITERALS)
    return rng.choice(REGEXES) if rng.random() < 0.5 else make_regex(rng)


def make_config(rng):
    size, overlap = make_sizes(rng)
    is_regex = rng.random() < 0.4
    config = {"chunk_size": size, "chunk_overlap": overlap, "is_separator_regex": is_regex}
    if rng.random() < 0.35:
        return {"implementation": "character_text_splitter", "separator": make_separator(rng, is_regex), **config}
    kind = rng.random()
    if kind < 0.05:
        separators = []
    elif kind < 0.4 and not is_regex:
        separators = DEFAULTS
    else:
        separators = [make_separator(rng, is_regex) for _ in range(rng.randrange(1, 6))]
    return {"implementation": "recursive_character_text_splitter", "separators": separators, **config}


# --- chunks ------------------------------------------------------------------------------------


class TooSlow(Exception):
    pass


def too_slow(*_):
    raise TooSlow


def answer(config, text):
    """What LangChain gives: {"chunks": [...]}, or {"config_error": …} where the settings are refused or
    a regex is none, {"row_error": …} where only this text fails, {"flags_error": …} where Python
    3.11 refuses what this project accepts. None if it takes too long."""
    import re

    from langchain_text_splitters import CharacterTextSplitter, RecursiveCharacterTextSplitter

    settings = {key: value for key, value in config.items() if key != "implementation"}
    is_character = config["implementation"] == "character_text_splitter"
    try:
        splitter = (CharacterTextSplitter if is_character else RecursiveCharacterTextSplitter)(**settings)
    except ValueError as error:
        return {"config_error": str(error)}
    if config["is_separator_regex"]:
        # LangChain compiles a regex when it first needs it; this project does at once.
        flags_error = None
        for separator in [config["separator"]] if is_character else config["separators"]:
            try:
                re.compile(separator)
            except (re.error, OverflowError) as error:
                return {"config_error": str(error)}
            try:
                re.compile(separator if is_character else f"({separator})")
            except re.error as error:
                if not error.msg.startswith("global flags"):
                    return {"config_error": error.msg}
                flags_error = {"flags_error": error.msg}
        if flags_error:
            return flags_error
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        return {"chunks": splitter.split_text(text)}
    except TooSlow:
        return None
    except (IndexError, TypeError) as error:
        return {"row_error": type(error).__name__}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def prepare():
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, too_slow)


def write(name, value):
    """One line a case, so that a difference can be read."""
    lists = [f'"{key}": [\n' + ",\n".join(json.dumps(item, ensure_ascii=False) for item in items) + "\n]"
             for key, items in value.items()]
    (HERE / name).write_text("{" + ",\n".join(lists) + "}\n", encoding="utf-8", newline="\n")


KNOWN = [
    # (implementation, size, overlap, separators, is_regex, text)
    ("c", 8, 3, "\n\n", False, "aaa\n\nbbb\n\nccc"),
    ("c", 8, 0, "\n\n", False, "aaa\n\nbbb\n\nccc"),
    ("c", 100, 0, "\n\n", False, "  aaa  \n\n   \n\nbbb"),
    ("c", 100, 0, "\n\n", False, "   "),
    ("c", 3, 1, "", False, "abcdef"),
    ("c", 100, 0, r"\d+", True, "a1b22c"),
    ("c", 100, 0, r"(\s+)", True, "a  b c"),
    ("r", 12, 0, DEFAULTS, False, "Hello world. How are you? Fine!"),
    ("r", 12, 6, DEFAULTS, False, "Hello world. How are you? Fine!"),
    ("r", 3, 0, ["."], False, "a.b.c.d"),
    ("r", 3, 0, [r"\d+"], True, "a1b22c333d"),
    ("r", 5, 0, [r"(\d)"], True, "a1b2c"),
    ("r", 5, 0, [r"(\d)"], True, "a1b"),
    ("r", 5, 0, [r"(\d)|x"], True, "axbxc"),
    ("r", 5, 2, [], False, "\n\nbbbbbbbbbbbb two"),
    ("r", 5, 2, ["", " "], False, "bbbbb two"),
    ("r", 5, 6, [" "], False, "overlap"),
    ("r", 0, 0, [" "], False, "zero"),
    ("r", -1, -2, [" "], False, "negative"),
    ("r", 5, -1, [" "], False, "negative"),
    ("c", 5, 9, " ", False, "overlap"),
]


def known_config(kind, size, overlap, separators, is_regex):
    key = ("character_text_splitter", "separator") if kind == "c" else ("recursive_character_text_splitter", "separators")
    return {"implementation": key[0], key[1]: separators, "chunk_size": size, "chunk_overlap": overlap,
            "is_separator_regex": is_regex}


def make_chunks():
    prepare()
    rng = random.Random(20_240_601)
    texts, cases = [], []
    for kind, size, overlap, separators, is_regex, text in KNOWN:
        config = known_config(kind, size, overlap, separators, is_regex)
        cases.append({"text": len(texts), "config": config, **answer(config, text)})
        texts.append(text)
    for _ in range(150):
        texts.append(make_text(rng, 4000 if rng.random() < 0.03 else 300))
    while len(cases) < 2200:
        index = rng.randrange(len(texts))
        config = make_config(rng)
        result = answer(config, texts[index])
        # Tiny pieces with much overlap are long to write down and say little.
        if result and len(str(result)) < 700:
            cases.append({"text": index, "config": config, **result})
    write("chunks.json", {"texts": texts, "cases": cases})

    texts = [make_text(rng, 60) for _ in range(60)] + [
        "aaa bbb\n\nabab ab\n", "Hello. World? Yes!\nNo", "iIİı sSſ kKK åÅÅ σςΣ ßẞ θϑϴ µμ ωΩΩ ﬅﬆ ǅǆǄ 𐐀𐐨", "\n", "ab\n\n", "A1 b2_c3\x1cd"]
    cases = []
    for regex in REGEXES + WRONG + [make_regex(rng) for _ in range(700)]:
        for index in [-1, -2, -3, -4] if regex in REGEXES else []:
            cases.append((regex, len(texts) + index))
        cases += [(regex, rng.randrange(len(texts))) for _ in range(2)]
    found = []
    for regex, index in cases:
        # With a size of 1 nothing is merged and nothing stripped: these are the pieces.
        result = answer(known_config("r", 1, 0, [regex], True), texts[index])
        if result:
            found.append({"text": index, "regex": regex, **result})
    write("regexes.json", {"texts": texts, "cases": found})


def live(seed, count):
    prepare()
    rng = random.Random(seed)
    while count:
        text = make_text(rng, rng.choice([30, 100, 400, 2000]))
        config = make_config(rng)
        result = answer(config, text)
        if result:
            print(json.dumps({"text": text, "config": config, **result}))
            count -= 1


# --- templates ---------------------------------------------------------------------------------


def make_templates():
    rng = random.Random(7)
    values = {"chunk": "some $title text\n", "title": "Größe", "Title": "T", "_x1": "", "id": "42"}
    parts = ["$chunk", "${chunk}", "$title", "${Title}", "$Title.", "$_x1", "$id-", "$id1", "$$", "$$$$", "$", "${", "${}",
             "${id", "${id }", "$5", "$é", "${é}", "$ıd", "$ſ", "$K", "$-", "$ ", "$missing", "${missing}", "text", "é", "日本", "{", "}",
             "\n", "\r\n", "\r", "\x0b", "\x1c", "\x85", "\u2028", "\x1f", "a\nb", " ", "$chunk$id", "$$chunk", "${_}", "$_"]
    templates = ["", "$", "$chunk", "a\n\n b $", "a\r\n$5", "\r\n\r\n${", "é\u2028é$é", "$missing $5"]
    templates += ["".join(rng.choice(parts) for _ in range(rng.randrange(1, 8))) for _ in range(700)]
    cases = []
    for template in templates:
        try:
            result = {"text": string.Template(template).substitute(values)}
        except KeyError as error:
            result = {"missing": error.args[0]}
        except ValueError as error:
            result = {"invalid": str(error)}
        cases.append({"template": template, **result})
    write("templates.json", {"values": [values], "cases": cases})


# --- values ------------------------------------------------------------------------------------

ZONES = ["UTC", "America/New_York", "Asia/Kolkata", "Etc/UTC"]
VALUES = {
    "boolean": ["t", "f"],
    "smallint": ["-1", "32767"], "integer": ["0", "-2147483648"], "bigint": ["9223372036854775807"], "oid": ["12"],
    "numeric": ["0", "1.50", "-0.00", "100", "1e30", "0.00000001", "0.0000001", "0.000001", "0.0000010", "-0.00000012300", "0.0000000",
                "0.000000", "123456789012345678901234567890.12", "NaN", "Infinity", "-Infinity", "1.000000000", "0.10000000"],
    "real": ["1.1", "1e20", "NaN", "3.4e38", "1e-5", "16777216", "0.1"],
    "double precision": ["1", "-0", "1e15", "1e16", "123456789012345680", "1e-4", "1e-5", "0.00012345", "1.5e300", "5e-324", "inf", "-inf",
                         "nan", "0.1", "9007199254740993", "1e22", "1.7976931348623157e308", "123456.789", "791299728527984.25", "32207670097310.8125", "0.5", "-1.5795296208737242e15", "1e-4", "9.5367431640625e-07", "2.98023223876953125e-08"],
    "text": ["", "a", "NULL", "null", 'a"b', "it's", "'\"", "a\\b", "a,b", "{}", " ", "\t\n\r\x01\x7f", "é日\u0301", "\u200b\ufeff\u00a0\u00ad",
             "\u2028\ue000\U000e0001", "😀👩‍👩‍👧‍👦", "\u0378\U0001fae8"],
    "character varying": ["a b"], "character(3)": ["a"], "name": ["n"], '"char"': ["a"],
    "money": ["1.5"], "bit(3)": ["101"], "bit varying": ["1"], "uuid": ["6BA7B810-9dad-11d1-80b4-00c04fd430c8"],
    "bytea": ["\\x", "\\x01", "\\x00ff27", "\\x2227", "\\x27", "\\x5c0a0d09", "\\x7e7f80", "\\x68616c6c6f"],
    "inet": ["10.0.0.1/24", "10.0.0.1", "::1", "::", "1::/64", "::ffff:1.2.3.4", "::ffff:1.2.3.4/64", "2001:db8::1:0:0:1", "1:0:0:2::3", "fe80::1:0:2",
             "1:2:3:4:5:6:7:8", "1:0:2:0:3:0:4:0", "0:0:1::", "::1.2.3.4"],
    "cidr": ["10.0.0.0/8", "1::/64", "192.168.1.5", "::/0"], "macaddr": ["08:00:2b:01:02:03"], "macaddr8": ["08:00:2b:01:02:03:04:05"],
    "json": ["1", '"a"', "null", " { \"a\" : [ 1 , true , null ] } ", '{"a":1,"b":2,"a":3}', "1.0", "1e5", "1E400", "-0", "-0.0", "-0e0", '"\\ud800"',
             '["\\ud800", "\\ud83d\\ude00", "\\u0000", "\\/", "\\b\\f\\n\\r\\t\\"\\\\"]', "[]", "{}", '"it\'s"', '["it\'s", "\\"", "\'\\""]', '"\\u0000"',
             "123456789012345678901234567890", "0.1", "1e16", "[1.5e-7, 1e-4]", '"\\udc00\\ud800\\udc00"', '["\\udc00\\ud800\\udc00"]', "[[[]]]",
             '["\u00ad\u200b\u0301é"]', '{"":{"\u00e9":[]}}', "true", '[-1, -1.25e+3]'],
    "jsonb": ["1", '"a"', "null", '{"b": 1.50, "a": [1, true, null, "x\\ny"]}', "1e5", "1.10", "1e-7", "0.00001", '"é\'"', "[]", "{}", "1e400", "-0.0",
              "100000000000000000000.5"],
    "date": ["2024-01-02", "0001-01-01", "9999-12-31", "10000-01-01", "infinity", "-infinity", "0044-03-15 BC"],
    "time": ["01:02:03", "01:02:03.5", "00:00", "23:59:59.999999", "24:00", "12:30"],
    "timetz": ["01:02:03+02", "01:02:03.5-05:30", "01:02+00", "24:00+00", "01:02:03+02:30:15", "00:00-00:00:01"],
    "timestamp": ["2024-01-02 03:04:05", "2024-01-02 00:00", "2024-01-02 03:04:05.678901", "2024-01-02 03:04:05.1", "0001-01-01", "9999-12-31 23:59:59.999999",
                  "10000-01-01", "infinity", "-infinity", "0044-03-15 BC"],
    "timestamptz": ["2024-01-02 03:04:05+00", "2024-07-02 03:04:05.25+00", "2024-01-02 00:00+00", "1800-01-01+00", "1900-01-01+00", "9999-12-31 00:00+00",
                    "0001-01-02+00", "infinity", "0044-03-15 BC", "2024-11-03 05:30+00"],
    "interval": ["0", "1 day", "-1 day", "1 year 2 mons -3 days 4:05:06.7", "2 hours", "-1 sec", "-0.000001 sec", "1 mon", "100 years", "-1 year 3 days",
                 "999999999 days", "2000000 years", "3000000 years", "-999999999 days -1 sec", "1000:00:00.5", "2 days -1 sec", "-2 days 1:00", "0.1 sec", "infinity"],
    "int4range": ["[1,5)", "(,5)", "[1,)", "(,)", "empty"], "int8range": ["[1,3]"], "numrange": ["[1.50,2)", "(1,2]", "(0.00000001,)"],
    "daterange": ["[2024-01-01,2024-02-01)", "[2024-01-01,infinity)", "(,2024-01-01]"],
    "tsrange": ["[2024-01-01,2024-01-02 03:04:05.6]"], "tstzrange": ["[2024-01-01 00:00+00,)"],
    "int4multirange": ["{}", "{[1,3),[5,8)}", "{(,3),[9,)}"], "nummultirange": ["{[1.5,2]}"], "datemultirange": ["{[2024-01-01,2024-01-03)}"],
    "tsmultirange": ["{[2024-01-01,2024-01-03)}"], "tstzmultirange": ["{[2024-01-01 00:00+00,2024-01-03 00:00+00),[2025-01-01 00:00+00,)}"],
    "point": ["(1,2)"], "box": ["(3,4),(1,2)"], "tsvector": ["a:1 b"], "tsquery": ["a & b"], "jsonpath": ["$.a"], "pg_lsn": ["1/2"], "xid": ["5"],
    "tid": ["(0,1)"], "regclass": ["pg_class"], "int2vector": ["1 2"], "oidvector": ["1 2"], "pg_snapshot": ["1:2:"], "polygon": ["((0,0),(1,1))"],
    "information_schema.yes_or_no": ["YES"], "information_schema.cardinal_number": ["5"],
}
ARRAYS = ["{}", "{NULL}", "{{1,2},{3,4}}", "[2:3]={5,6}", "{{{1},{NULL}}}", "[0:0][1:2]={{1,2}}"]


def random_values(rng):
    def digits(n):
        return "".join(rng.choice("0123456789") for _ in range(n))

    for _ in range(60):
        yield "double precision", repr(rng.choice([1, -1]) * rng.random() * 10.0 ** rng.randrange(-25, 25))
        yield "real", repr(rng.random() * 10.0 ** rng.randrange(-12, 12))
        yield "numeric", f"{rng.choice(['', '-'])}{digits(rng.randrange(1, 5))}.{digits(rng.randrange(1, 12))}"
        yield "numeric", f"0.{'0' * rng.randrange(4, 9)}{digits(rng.randrange(1, 4))}"
        yield "interval", (f"{rng.randrange(-3, 4)} years {rng.randrange(-20, 20)} mons {rng.randrange(-50, 50)} days "
                           f"{rng.randrange(-10**6, 10**6)}.{digits(rng.randrange(1, 7))} secs")
        when = (f"{rng.randrange(1700, 2300)}-{rng.randrange(1, 13):02}-{rng.randrange(1, 29):02} "
                f"{rng.randrange(24):02}:{rng.randrange(60):02}:{rng.randrange(60):02}.{digits(rng.randrange(1, 7))}")
        yield "timestamp", when
        yield "timestamptz", when + "+00"
        yield "bytea", "\\x" + bytes(rng.randrange(256) for _ in range(rng.randrange(12))).hex()
        yield "text", make_text(rng, 30)
        yield "inet", ":".join(rng.choice(["0", "0", "0", "1", "ff00", "abcd"]) for _ in range(8)) + rng.choice(["", "/64"])
        yield "json", json.dumps(random_json(rng, 0), ensure_ascii=rng.random() < 0.5)


def random_json(rng, depth):
    kind = rng.randrange(9 if depth < 3 else 6)
    if kind < 6:
        return [None, True, rng.randrange(-10**6, 10**6), rng.random() * 10.0 ** rng.randrange(-20, 20), make_text(rng, 20), "'"][kind]
    items = [random_json(rng, depth + 1) for _ in range(rng.randrange(4))]
    return items if kind == 6 else {make_text(rng, 8): item for item in items}


def make_values(url):
    """For each value: the type as format_type names it, PostgreSQL's text, and str() of what psycopg loads;
    without the last where psycopg cannot load it."""
    import psycopg

    cases = []
    connection = psycopg.connect(url, autocommit=True)
    connection.execute("set datestyle = iso; set intervalstyle = postgres; set bytea_output = hex; set extra_float_digits = 1")

    def add(type_name, value, zone):
        # The type of a column is that below its domain, which psycopg sees, too.
        base = {"information_schema.yes_or_no": "varchar", "information_schema.cardinal_number": "int4"}.get(type_name, type_name)
        query = psycopg.sql.SQL("select {}::{}")
        expression = query.format(psycopg.sql.Literal(value), psycopg.sql.SQL(type_name))
        shown = connection.execute("select format_type(%s::regtype, null)", [base]).fetchone()[0]
        with connection.cursor() as cursor:
            cursor.execute(expression)
            case = {"type": shown, "zone": zone, "value": bytes(cursor.pgresult.get_value(0, 0)).decode()}
            try:
                text = str(cursor.fetchone()[0])
                text.encode()
                # Of an interval at infinity psycopg makes 0:00:00, which no Python object is.
                if "\0" not in text and not (shown.startswith("interval") and "infinity" in case["value"]):
                    case["text"] = text
            except (psycopg.Error, ValueError, OverflowError):
                pass
        if case not in cases:
            cases.append(case)

    def as_array(type_name, value):
        if type_name == "box":
            return "{" + value + ";NULL}"
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return '{"' + escaped + '",NULL}'

    for zone in ZONES:
        connection.execute(f"set timezone = '{zone}'")
        for type_name, values in VALUES.items():
            if zone != "UTC" and "tstz" not in type_name and "timestamptz" not in type_name:
                continue
            is_domain = "." in type_name
            for value in values:
                add(type_name, value, zone)
                if not is_domain:
                    add(type_name + "[]", as_array(type_name, value), zone)
            if type_name in ("int8range", "text", "timestamptz"):
                add(type_name + "[]", "{}", zone)
    for array in ARRAYS:
        add("integer[]", array, "UTC")
    add("box[]", "{(3,4),(1,2);(3,4),(1,2)}", "UTC")
    connection.execute("set timezone = 'UTC'")
    rng = random.Random(11)
    for type_name, value in random_values(rng):
        add(type_name, value, "UTC")
        if rng.random() < 0.4:
            add(type_name + "[]", as_array(type_name, value), "UTC")
    write("values.json", {"cases": cases})


# --- unicode -----------------------------------------------------------------------------------


def make_unicode():
    def flips(holds):
        out, last = [], False
        for code in range(0x80, 0x110000):
            if holds(chr(code)) != last:
                out.append(code)
                last = not last
        return out + [0x110000] * last

    def rows(items):
        lines = [""]
        for item in items:
            if len(lines[-1]) + len(item) + 6 > 100:
                lines.append("")
            lines[-1] += f" {item},"
        return "\n".join(f"   {line}" for line in lines)

    # Letters of lower case with the same upper case; found by asking `re` itself.
    import re

    by_upper = {}
    for code in range(0x110000):
        char = chr(code)
        if char.lower() == char and char.upper() != char:
            by_upper.setdefault(char.upper(), []).append(char)
    pairs = sorted((ord(a), ord(b)) for chars in by_upper.values() for a in chars for b in chars
                   if a != b and re.fullmatch(a, b, re.IGNORECASE))
    pairs += [(0x69, 0x131), (0x131, 0x69)] * ((0x69, 0x131) not in pairs)
    out = """//! Properties of characters as Python 3.11 has them (Unicode 14), made by
//! `tests/golden/text/make.py`.
//!
//! A table lists where a property begins and ends to hold, in turns.

/// Tells whether a property holds for a character.
pub(crate) fn holds(table: &[u32], character: u32) -> bool {
    table.partition_point(|&flip| flip <= character) % 2 == 1
}

/// Lower-case letters that match each other where case is ignored, although the lower case of
/// neither is the other: pairs, in both directions.
#[rustfmt::skip]
pub(crate) const ALSO_EQUAL: &[(u32, u32)] = &[
""" + rows(f"({a:#x}, {b:#x})" for a, b in sorted(pairs)) + "\n];\n"
    for name, method, said in [("ALPHANUMERIC", str.isalnum, "`str.isalnum` holds"), ("DECIMAL", str.isdecimal, "`str.isdecimal` holds"),
                               ("UNPRINTABLE", lambda c: not c.isprintable(), "`str.isprintable` does not hold")]:
        out += f"\n/// What {said} for, beyond ASCII.\n#[rustfmt::skip]\npub(crate) const {name}: &[u32] = &[\n"
        out += rows(f"{code:#x}" for code in flips(method)) + "\n];\n"
    (REPOSITORY / "core/src/text/unicode.rs").write_text(out, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["chunks"]:
            make_chunks()
        case ["live", seed, count]:
            live(int(seed), int(count))
        case ["templates"]:
            make_templates()
        case ["unicode"]:
            make_unicode()
        case ["values", url]:
            make_values(url)
        case _:
            sys.exit(__doc__)
