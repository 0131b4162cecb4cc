use super::*;

fn check(text: &str, expect: &str) {
    assert_eq!(to_markdown(text), expect);
}

#[test]
fn headings_lists_and_paragraphs() {
    check(
        "= Title\n:name: Ann\n\nAn abstract\nby {name}.\n\n== Part\n* one\n** two\n* three\n\n. first\n. second\n",
        "# Title\n\nAn abstract by Ann.\n\n## Part\n\n- one\n    - two\n- three\n    1. first\n    2. second\n",
    );
    check(
        "* a\n  * b\n  1. c\n    * d\n  2. e\n* f\n\ntext",
        "- a\n    - b\n    1. c\n        - d\n    2. e\n- f\n\ntext\n",
    );
    check(
        "CPU:: the processor\nRAM::\n  memory",
        "- CPU: the processor\n- RAM: memory\n",
    );
}

#[test]
fn tables_with_and_without_lines_around_them() {
    check(
        "|===\n|A |B\n\n|1\n|2\n|===",
        "| A | B |\n| --- | --- |\n| 1 | 2 |\n",
    );
    check("|A|B|\n|1|2|", "| A | B |\n| --- | --- |\n| 1 | 2 |\n");
    check(
        "[cols=\"1,1,1\"]\n|===\n2+|wide |c\n.2+|tall |x |y\n|z |w\n|===",
        "| wide | wide | c |\n| --- | --- | --- |\n| tall | x | y |\n| tall | z | w |\n",
    );
    check(
        ".Caption\n|===\n|a \\| b\n|===",
        "Caption\n\n| a \\| b |\n| --- |\n",
    );
}

#[test]
fn blocks_and_marks() {
    check(
        "[source,rust]\n----\nfn main() {}\n----\n",
        "```rust\nfn main() {}\n```\n",
    );
    check("____\nquoted\n____", "> quoted\n");
    check(
        "====\n* item\n====\n// a comment\n////\nhidden\n////",
        "- item\n",
    );
    check(
        "*bold*, _italic_, `a*b*c`, un*bound*ed, https://h.example/x[a page^], <<part,that part>>",
        "**bold**, *italic*, `a*b*c`, un*bound*ed, [a page](https://h.example/x), that part\n",
    );
    check(
        "image::a.png[A duck, width=2]\ninclude::secret[]",
        "A duck\n",
    );
}
