//! `status`: shows the pending and failed rows of each vectorizer.

use serde_json::{Value, json};

use super::checks::python_workers;
use super::table::{short, table};
use super::{Answer, Ask, Steps, field, usage};
use crate::query::{Param, Rows};
use crate::settings::Settings;

/// The arguments of `status`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Names of tables are returned ready for use in SQL, or as NULL if the table does not exist or
/// cannot be read.
const VECTORIZERS: &str = concat!(
    "\
select x.id::text, x.name, x.source, x.destination, x.disabled, x.queue, x.failed, x.recorded,
  x.reason, w.alive::text, w.of_python
from (
  select count(*) as alive, ",
    python_workers!(),
    " as of_python
  from ai.vectorizer_worker_process p
  where p.last_heartbeat > now() - 2 * p.expected_heartbeat_interval - interval '5 seconds'
    and exists (select from pg_stat_activity a
      where a.datname = current_database() and a.pid <> pg_backend_pid()
        and a.application_name like 'pgai-worker%')
) w
left join (
  select v.id, v.name, format('%I.%I', v.source_schema, v.source_table) as source,
    case v.config -> 'destination' ->> 'implementation'
      when 'column' then format('%I.%I.%I', v.source_schema, v.source_table,
        v.config -> 'destination' ->> 'embedding_column')
      else format('%I.%I', v.config -> 'destination' ->> 'target_schema',
        v.config -> 'destination' ->> 'target_table')
    end as destination,
    v.disabled::text, q.name as queue, f.name as failed, e.recorded::text,
    coalesce(e.details ->> 'error_reason', e.message) as reason
  from ai.vectorizer v
  left join lateral (
    select format('%I.%I', v.queue_schema, v.queue_table) as name
    where has_table_privilege(
      to_regclass(format('%I.%I', v.queue_schema, v.queue_table)), 'select')
  ) q on true
  left join lateral (
    select format('%I.%I', v.queue_schema, v.queue_failed_table) as name
    where has_table_privilege(
      to_regclass(format('%I.%I', v.queue_schema, v.queue_failed_table)), 'select')
  ) f on true
  left join lateral (
    select r.recorded, r.message, r.details from ai._vectorizer_errors r
    where r.id = v.id order by r.recorded desc limit 1
  ) e on true
) x on true
order by x.id"
);

#[derive(Debug)]
pub(super) struct Status {
    args: StatusArgs,
    settings: Settings,
    vectorizers: Option<Rows>,
    counts: Option<Rows>,
}

impl Status {
    pub(super) const fn new(args: StatusArgs, settings: Settings) -> Self {
        Self {
            args,
            settings,
            vectorizers: None,
            counts: None,
        }
    }

    fn report(&self, vectorizers: &Rows, counts: &Rows, today: &Rows) -> String {
        let today = usage::total(today, &self.settings.prices);
        let workers = vectorizers.first().map_or("0", |row| field(row, 9));
        let python = vectorizers.first().map_or("", |row| field(row, 10));
        let vectorizers = vectorizers.iter().filter(|row| !field(row, 0).is_empty());
        let lines: Vec<Line<'_>> = vectorizers.map(|row| Line::new(row, counts)).collect();
        if self.args.json {
            let lines: Vec<Value> = lines.iter().map(Line::json).collect();
            let workers: u64 = workers.parse().unwrap_or_default();
            let python = (!python.is_empty()).then_some(python);
            let today = today.map(|total| total.json());
            return json!({"workers": workers, "python_workers": python, "vectorizers": lines,
                "today": today})
            .to_string();
        }
        let mut alive = match workers {
            "0" => "no worker is alive".to_owned(),
            "1" => "1 worker is alive".to_owned(),
            more => format!("{more} workers are alive"),
        };
        if !python.is_empty() {
            alive += &format!("\na worker of Python pgai is connected, stop it: {python}");
        }
        if let Some(total) = today {
            alive += &format!("\ntoday (UTC): {total}");
        }
        if lines.is_empty() {
            return format!("no vectorizers found\n{alive}");
        }
        let head = [
            "id",
            "name",
            "source",
            "destination",
            "pending",
            "oldest",
            "failed",
            "last error",
        ];
        let rows: Vec<Vec<String>> = lines.iter().map(Line::cells).collect();
        format!("{}\n{alive}", table(&head, &rows))
    }
}

impl Steps for Status {
    fn next(&mut self, answer: Answer) -> Result<Ask, String> {
        if matches!(answer, Answer::Begin) {
            return Ok(Ask::query(VECTORIZERS, vec![]));
        }
        match (&self.vectorizers, &self.counts) {
            (None, _) => {
                let rows = answer.rows()?;
                let query = counts(&rows);
                self.vectorizers = Some(rows);
                Ok(query)
            }
            (Some(_), None) => {
                self.counts = Some(answer.rows()?);
                Ok(usage::ask(&self.settings, 1))
            }
            (Some(vectorizers), Some(counts)) => {
                // An older schema has no usage, and everything else is worth showing.
                let today = answer.rows().unwrap_or_default();
                Ok(Ask::done(self.report(vectorizers, counts, &today)))
            }
        }
    }
}

/// Counts the rows of all existing queues and failed tables.
fn counts(vectorizers: &Rows) -> Ask {
    let mut parts = vec!["select null, null, null, null where false".to_owned()];
    let mut ids = vec![];
    for row in vectorizers {
        let Some(id) = row.first().cloned().flatten() else {
            continue;
        };
        ids.push(Some(id));
        let of = |what: &str, name: &str| match name {
            "" => "null".to_owned(),
            name => format!("(select {what} from {name})"),
        };
        parts.push(format!(
            "select ($1::text[])[{}], {}, {}, {}",
            ids.len(),
            of("count(*)::text", field(row, 5)),
            of(
                "extract(epoch from now() - min(queued_at))::bigint::text",
                field(row, 5)
            ),
            of("count(*)::text", field(row, 6)),
        ));
    }
    let params = if ids.is_empty() {
        vec![]
    } else {
        vec![Param::Texts(ids)]
    };
    Ask::query(parts.join("\nunion all\n"), params)
}

/// One vectorizer, from the results of the two statements.
struct Line<'a> {
    row: &'a [Option<String>],
    counts: &'a [Option<String>],
}

impl<'a> Line<'a> {
    fn new(row: &'a [Option<String>], counts: &'a Rows) -> Self {
        let counts = counts.iter().find(|counts| counts.first() == row.first());
        Self {
            row,
            counts: counts.map_or(&[], Vec::as_slice),
        }
    }

    fn cells(&self) -> Vec<String> {
        let or_unknown = |text: &str| if text.is_empty() { "?" } else { text }.to_owned();
        let is_disabled = field(self.row, 4) == "true";
        let pending = or_unknown(field(self.counts, 1));
        let oldest = field(self.counts, 2).parse().map(age).unwrap_or_default();
        let error = match field(self.row, 8) {
            "" => String::new(),
            reason => {
                let when: String = field(self.row, 7).chars().take(19).collect();
                format!("{when} {}", short(reason, 80))
            }
        };
        vec![
            field(self.row, 0).to_owned(),
            field(self.row, 1).to_owned(),
            field(self.row, 2).to_owned(),
            field(self.row, 3).to_owned(),
            if is_disabled {
                format!("{pending} (disabled)")
            } else {
                pending
            },
            oldest,
            or_unknown(field(self.counts, 3)),
            error,
        ]
    }

    fn json(&self) -> Value {
        let number = |text: &str| text.parse::<i64>().ok();
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        json!({
            "id": number(field(self.row, 0)),
            "name": field(self.row, 1),
            "source": field(self.row, 2),
            "destination": field(self.row, 3),
            "disabled": field(self.row, 4) == "true",
            "pending": number(field(self.counts, 1)),
            "oldest_seconds": number(field(self.counts, 2)),
            "failed": number(field(self.counts, 3)),
            "last_error": text(field(self.row, 8)),
            "last_error_at": text(field(self.row, 7)),
        })
    }
}

fn age(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{} s", seconds.max(0)),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}
