//! The status page in a real browser.

use std::path::Path;

use tests::browser::Browser;
use tests::process::Process;
use tests::site::Site;
use tests::stage::{PATIENCE, Stage};

use super::{ANY, blog};

/// Whether to go on: without a browser only where nobody insists on it.
fn is_there() -> bool {
    let must = ["CI", "PGAI_TEST_BROWSER"];
    let must = must.iter().any(|name| std::env::var_os(name).is_some());
    assert!(
        Browser::is_installed() || !must,
        "chromium-driver is not installed"
    );
    Browser::is_installed()
}

/// A worker that has done what it can, with a row that has failed for good.
fn worker(stage: &mut Stage, more: &[&str]) -> (Process, Site) {
    stage.stub.refuse_inputs_with("poison");
    stage.run(
        "insert into blog values (4, 'title', 'poison <img src=x onerror=alert(1)>'),
           (5, 'title', 'whales are large')",
    );
    let arguments = [ANY, more].concat();
    let worker = stage.worker("worker", &arguments);
    let site = Site::of(&worker);
    worker.wait_for_line("row failed for good", PATIENCE);
    stage.wait_until_done();
    (worker, site)
}

const ROW: &str = "document.querySelector('#vectorizers tbody tr')?.innerText ?? ''";

#[test]
fn the_page_shows_what_status_knows() {
    if !is_there() {
        return;
    }
    let mut stage = blog();
    let (_worker, site) = worker(&mut stage, &[]);
    let browser = Browser::start(1200, 1400, false);
    browser.open(&site.url);
    browser.wait_until("document.querySelector('#readiness').textContent === 'working'");
    browser.wait_until(&format!("/blog[^]*\\t0\\t[^]*\\t1\\t4\\t/.test({ROW})"));
    browser.wait_until(
        "document.querySelector('#providers tbody').innerText.includes('ollama at http')",
    );
    assert_eq!(
        browser.value("document.querySelectorAll('#charts svg').length"),
        4
    );
    assert_eq!(
        browser.value("document.querySelector('#workers-count').textContent"),
        "1 worker is alive."
    );
    // Nobody may change anything.
    assert_eq!(
        browser.value("document.querySelectorAll('td button').length"),
        0
    );

    browser.click("#show-errors");
    browser.wait_until("document.querySelectorAll('#errors details').length > 0");
    browser.click("#errors details summary");
    browser.wait_until(
        "document.querySelector('#errors details li').innerText.startsWith('4, failed')",
    );

    browser.write("#search input", "whales are large");
    browser.click("#search button");
    browser.wait_until(
        "document.querySelector('#found li')?.innerText.includes('whales are large') ?? false",
    );
    assert_eq!(browser.complaints(), Vec::<String>::new());
    if let Some(directory) = std::env::var_os("PGAI_TEST_PICTURES") {
        browser.picture(&Path::new(&directory).join("status-page.png"));
    }
}

#[test]
fn what_the_page_may_change_is_asked_twice_and_done() {
    if !is_there() {
        return;
    }
    let mut stage = blog();
    let (worker, site) = worker(&mut stage, &["--http-actions"]);
    let browser = Browser::start(1200, 1400, true);
    browser.open(&site.url);
    let retry = "button[aria-label=\"Retry blog\"]";
    browser.wait_until(&format!("document.querySelector('{retry}') !== null"));
    browser.click(retry);
    browser.wait_until("document.querySelector('#confirm').open");
    browser.click("#confirm button[value=no]");
    browser.wait_until("!document.querySelector('#confirm').open");
    assert_eq!(
        stage.number("select count(*) from ai._vectorizer_q_failed_1"),
        1,
        "no is no"
    );
    stage.stub.refuse_no_inputs();
    // By keyboard: the focus is on the button that opened the question. U+E007 is the return key.
    browser.value(&format!("document.querySelector('{retry}').focus()"));
    browser.press("\u{e007}");
    browser.wait_until("document.querySelector('#confirm').open");
    browser.value("document.querySelector('#yes').focus()");
    browser.press("\u{e007}");
    worker.wait_for_line("retry of \"blog\", asked for by 127.0.0.1", PATIENCE);
    stage.wait_until_done();
    assert_eq!(
        stage.number("select count(*) from ai._vectorizer_q_failed_1"),
        0
    );
    browser.wait_until(&format!("document.querySelector('{retry}') === null"));
    // What a row says is text, and never a part of the page.
    assert_eq!(browser.value("document.querySelectorAll('img').length"), 0);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn the_page_fits_a_phone_and_names_what_it_shows() {
    if !is_there() {
        return;
    }
    let mut stage = blog();
    let (worker, site) = worker(&mut stage, &[]);
    let browser = Browser::start(500, 900, true);
    browser.open(&site.url);
    browser.wait_until(&format!("({ROW}).includes('blog')"));
    assert_eq!(
        browser
            .value("document.documentElement.scrollWidth <= document.documentElement.clientWidth"),
        true,
        "nothing is cut off at the side"
    );
    // For a screen reader: a language, one main heading, a name for everything that can be used.
    assert_eq!(browser.value("document.documentElement.lang"), "en");
    assert_eq!(browser.value("document.querySelectorAll('h1').length"), 1);
    let nameless = "[...document.querySelectorAll('button, input, select, a, svg[role=img]')].filter((one) => \
        !(one.getAttribute('aria-label') || one.textContent.trim() || one.closest('label'))).length";
    assert_eq!(browser.value(nameless), 0);
    // What the letters stand out from, by the formula of WCAG 2.2: at least 4.5.
    let contrast = "(() => { const light = (color) => { const [r, g, b] = color.match(/[0-9.]+/g).map((part) => {\
        const x = part / 255; return x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4; });\
        return 0.2126 * r + 0.7152 * g + 0.0722 * b; };\
        const ground = light(getComputedStyle(document.body).backgroundColor);\
        return Math.min(...['body', 'footer', 'th', '.good', 'a:not(.skip)'].map((selector) => {\
          const text = light(getComputedStyle(document.querySelector(selector)).color);\
          return (Math.max(text, ground) + 0.05) / (Math.min(text, ground) + 0.05); })); })()";
    let contrast = browser.value(contrast).as_f64().unwrap();
    assert!(contrast >= 4.5, "{contrast}");
    drop(worker);
    browser.wait_until("document.querySelector('#readiness').textContent === 'not reachable'");
}
