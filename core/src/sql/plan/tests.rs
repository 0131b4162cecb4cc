use super::super::Depth;
use super::*;

fn plan(name: &str, destination: Destination<'_>) -> Plan {
    let column = TemplateColumn {
        name: name.to_owned(),
        base_type: "text".to_owned(),
    };
    let key = KeyColumn {
        name: name.to_owned(),
        type_name: "bigint".to_owned(),
        equals: "operator(pg_catalog.=)".to_owned(),
        after: "operator(pg_catalog.>)".to_owned(),
        at_most: "operator(pg_catalog.<=)".to_owned(),
        fits_in_array: true,
    };
    Plan::new(&PlanInput {
        number: 7,
        vectorizer: 7,
        source: ("public", name),
        destination,
        queue_schema: "ai",
        queue_table: "_vectorizer_q_7",
        failed_table: "_vectorizer_q_failed_7",
        vector_schema: "public",
        vector_types: VectorTypes {
            vector: 1,
            array: 2,
        },
        searched: Searched::new(false, &serde_json::Value::Null, 3),
        key: &[key.clone(), key],
        loading: &column,
        columns: std::slice::from_ref(&column),
        dimensions: 3,
        has_location: false,
        refresh: Some(60),
        has_plain_texts: true,
        rows: 50,
        backoff_max: 600,
        made_by: &MakerDigests::default(),
        is_utf8: false,
        row_bytes: 1024,
    })
}

#[test]
fn every_name_in_every_statement_is_filled_in() {
    let destinations = [Destination::Table("public", "s"), Destination::Column("v")];
    let plans = destinations.map(|destination| plan("id", destination));
    let depths = [Depth::Hashes, Depth::Keys, Depth::Listed];
    for plan in &plans {
        for (is_first, is_last) in [(true, true), (true, false), (false, true), (false, false)] {
            let compare = depths.map(|depth| plan.resync.compare(depth, is_first, is_last));
            for sql in compare
                .iter()
                .chain([&plan.resync.bound(is_first), &plan.resync.starts()])
            {
                assert!(!sql.contains('{') && !sql.contains('}'), "{sql}");
            }
        }
    }
    for sql in plans.iter().flat_map(|plan| {
        [
            &plan.bell,
            &plan.claim,
            &plan.commit,
            &plan.enqueue,
            &plan.enqueued,
            &plan.extend,
            &plan.fail,
            plan.fail_and_clear.as_ref().unwrap_or(&plan.fail),
            &plan.read,
            &plan.release,
            &plan.renew,
            &plan.sample,
            plan.search.as_ref().unwrap_or(&plan.size),
            &plan.size,
            &plan.waiting,
        ]
    }) {
        assert!(!sql.contains('{') && !sql.contains('}'), "{sql}");
    }
}

#[test]
fn a_hostile_name_stays_a_name() {
    let plan = plan(
        "x\" {store} '; drop table y --",
        Destination::Table("public", "s"),
    );
    assert!(
        plan.read.contains("\"x\"\" {store} '; drop table y --\""),
        "{}",
        plan.read
    );
}
