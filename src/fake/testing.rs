//! Tables of the judges' tests: a good request, and a broken copy of it for every rule.

use jiff::Timestamp;
use serde_json::Value;

use super::{
    script::Chance,
    words::{Answer, Call, Judge, Memory},
};

/// 2026-11-25T18:00:00Z.
pub const NOW: i64 = 1_795_629_600;
/// SHA-256 of nobody's address.
pub const HASH: &str = "973dfe463ec85785f5f95af5ba3906eedb2d931c24e69824a89ea65dba4e813b";

/// A POST of JSON.
pub fn post(path: &str, body: &Value) -> Call {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    Call {
        method: "POST".to_owned(),
        path: path.to_owned(),
        query: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: body.to_string().into_bytes(),
        now: Timestamp::from_second(NOW).expect("a time"),
    }
}

/// A form.
pub fn form(method: &str, path: &str, body: &str) -> Call {
    let mut call = post(path, &Value::Null);
    call.method = method.to_owned();
    call.headers = vec![("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned())];
    call.body = body.as_bytes().to_vec();
    call
}

/// A GET.
pub fn get(path: &str) -> Call {
    let mut call = post(path, &Value::Null);
    (call.method, call.headers, call.body) = ("GET".to_owned(), Vec::new(), Vec::new());
    call
}

impl Call {
    /// With that header.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(have, _)| have != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Without it.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(have, _)| have != name);
        self
    }

    /// With this in the body's place.
    pub fn body(mut self, body: &Value) -> Self {
        self.body = body.to_string().into_bytes();
        self
    }

    /// Elsewhere.
    pub fn at(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }
}

/// Judged and answered: `field rule` of every fault, joined, and the answer.
pub fn ask(judge: &dyn Judge, call: &Call, memory: &mut Memory) -> (String, Answer) {
    let verdict = judge.judge(call, memory);
    let faults: Vec<String> = verdict.faults.iter().map(|fault| format!("{} {}", fault.field, fault.rule)).collect();
    (faults.join("; "), judge.answer(call, &verdict, memory))
}

/// The good request is taken with this status.
pub fn taken(judge: &dyn Judge, call: &Call, memory: &Memory, status: u16) -> Answer {
    let (faults, answer) = ask(judge, call, &mut memory.clone());
    assert_eq!((faults.as_str(), answer.status), ("", status), "{}", answer.body);
    answer
}

/// The broken one is refused for exactly this, with this status and this in the answer.
pub fn refused(judge: &dyn Judge, call: &Call, memory: &Memory, fault: &str, status: u16, said: &str) {
    let (faults, answer) = ask(judge, call, &mut memory.clone());
    assert_eq!(faults, fault);
    assert!(answer.status == status && answer.body.contains(said), "{fault}: {status} {said}\n{answer:?}");
}

/// One value of the good body in JSON is replaced, or taken out by `null`: the pointer, the value, the fault, status and words of the answer.
pub type Row<'a> = (&'a str, Value, &'a str, u16, &'a str);

/// Every row is refused for what it says.
pub fn table(judge: &dyn Judge, good: &Call, memory: &Memory, rows: &[Row<'_>]) {
    for (pointer, value, fault, status, said) in rows {
        let mut body = good.json();
        put(&mut body, pointer, value);
        refused(judge, &good.clone().body(&body), memory, fault, *status, said);
    }
}

fn put(body: &mut Value, pointer: &str, value: &Value) {
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
    let parent = body.pointer_mut(parent).unwrap_or_else(|| panic!("{pointer} does not exist"));
    match parent {
        Value::Object(object) if value.is_null() => {
            object.remove(name).unwrap_or_else(|| panic!("{pointer} does not exist"));
        }
        Value::Object(object) => {
            object.insert(name.to_owned(), value.clone());
        }
        Value::Array(list) => list[name.parse::<usize>().expect("a position")] = value.clone(),
        _ => panic!("{pointer} leads nowhere"),
    }
}

/// What the script's faults are answered with.
pub fn scripted(judge: &dyn Judge, good: &Call, memory: &Memory, rows: &[(Chance, u16, &str)]) {
    for (chance, status, said) in rows {
        let mut verdict = judge.judge(good, memory);
        chance.put(&mut verdict, None);
        let answer = match chance {
            Chance::Throttled => judge.throttled(good),
            Chance::Down => judge.down(good),
            _ => judge.answer(good, &verdict, &mut memory.clone()),
        };
        assert!(answer.status == *status && answer.body.contains(said), "{chance:?}: {status} {said}\n{answer:?}");
    }
}
