use super::*;

fn plan(operators: [&str; 2]) -> ResyncPlan {
    let parts = [("a", operators[0]), ("b", operators[1])];
    let key = parts.map(|(name, schema)| Ordered {
        name: quoted(name),
        type_name: "text".to_owned(),
        after: format!("operator({schema}.>)"),
        at_most: format!("operator({schema}.<=)"),
        equals: format!("operator({schema}.=)"),
    });
    ResyncPlan {
        values: BTreeMap::new(),
        key: key.to_vec(),
        is_column: false,
        has_plain_texts: true,
    }
}

#[test]
fn a_key_of_several_columns_is_compared_as_a_row_where_one_operator_does() {
    let plan = plan(["pg_catalog", "pg_catalog"]);
    assert_eq!(
        plan.with_range(Some(1), Some(3))["s range"],
        "(s.\"a\", s.\"b\") operator(pg_catalog.>) ($1::text::text, $2::text::text) \
         and (s.\"a\", s.\"b\") operator(pg_catalog.<=) ($3::text::text, $4::text::text)"
    );
    assert_eq!(plan.with_range(None, None)["t range"], "true");
}

#[test]
fn and_else_column_by_column() {
    let plan = plan(["p", "q"]);
    assert_eq!(
        plan.after("s", 1),
        "(s.\"a\" operator(p.>) $1::text::text or s.\"a\" operator(p.=) $1::text::text and \
         (s.\"b\" operator(q.>) $2::text::text or s.\"b\" operator(q.=) $2::text::text and false))"
    );
    assert_eq!(
        plan.at_most("s", 1),
        "(s.\"a\" operator(p.<=) $1::text::text and (not s.\"a\" operator(p.=) $1::text::text or \
         (s.\"b\" operator(q.<=) $2::text::text and (not s.\"b\" operator(q.=) $2::text::text or true))))"
    );
}
