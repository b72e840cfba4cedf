//! The rules of BFCL on cases of our own. What they must say was taken from the official checker.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{completion, instance};
use crate::domain::{Fault, Verdict};
use crate::scoring::Judge;
use crate::scoring::bfcl::{BfclCase, BfclRow, Category, convert_tools, normalised};
use crate::scoring::python_json::{PyStr, PyValue, parse};

fn py(value: &Value) -> PyValue {
    parse(&value.to_string()).unwrap()
}

fn case(category: &str, functions: &Value, answers: &Value) -> BfclCase {
    let answers = (!answers.is_null()).then(|| py(answers));
    BfclCase::new(category.parse().unwrap(), &py(functions), answers.as_ref()).unwrap()
}

/// One function with one parameter `p` of a declared type, and its acceptable values.
fn with_param(declared: &Value, acceptable: &Value) -> BfclCase {
    let functions = json!([{"name": "lab.set", "description": "Sets.", "parameters": {"type": "dict",
        "properties": {"p": declared, "q": {"type": "integer", "description": "More."}}, "required": ["q"]}}]);
    case("simple_python", &functions, &json!([{"lab.set": {"p": acceptable, "q": [1]}}]))
}

/// The error type of an answer, "valid" without one.
fn judged(case: &BfclCase, row: &Value) -> &'static str {
    let mut row = row.clone();
    row["id"] = json!("case");
    verdict(case, &row.to_string())
}

fn verdict(case: &BfclCase, row: &str) -> &'static str {
    case.judge(&BfclRow::parse(row).unwrap().answer).map_or_else(|e| e.name(), |()| "valid")
}

/// The verdict on the value of `p`, given as it stands on the wire.
fn of_value(case: &BfclCase, wire: &str) -> &'static str {
    let arguments = format!("{{\"p\": {wire}, \"q\": 1}}");
    judged(case, &json!({"tool_calls": [{"name": "lab_set", "arguments": arguments}]}))
}

#[test]
fn values_are_compared_by_kind_and_normal_form() {
    let text = json!({"type": "string"});
    let list = |item: &str| json!({"type": "array", "items": {"type": item}});
    type Row = (Value, Value, &'static [(&'static str, &'static str)]);
    let table: &[Row] = &[
        (
            text.clone(),
            json!(["New York, NY", "it's"]),
            &[
                (r#""new-york_ny""#, "valid"),
                (r#""NEW*YORK^./ NY""#, "valid"),
                (r#""it\"s""#, "valid"),
                (r#""New York:NY""#, "value_error:string"),
                (r#""New\tYork NY""#, "value_error:string"),
                (r#""New York NY\n""#, "value_error:string"),
                (r#""New York NY\ud800""#, "value_error:string"),
                ("5", "type_error:simple"),
                ("null", "type_error:simple"),
                (r#"["New York, NY"]"#, "type_error:simple"),
            ],
        ),
        (
            json!({"type": "integer"}),
            json!([5]),
            &[
                ("5", "valid"),
                ("5.0", "type_error:simple"),
                ("true", "type_error:simple"),
                ("6", "value_error:others"),
                (r#""5""#, "type_error:simple"),
                ("123456789012345678901234567890", "value_error:others"),
            ],
        ),
        (
            json!({"type": "float"}),
            json!([5.0, 0.5]),
            &[
                ("5", "valid"),
                ("5e0", "valid"),
                ("0.5", "valid"),
                ("true", "type_error:simple"),
                ("NaN", "value_error:others"),
                ("1e999", "value_error:others"),
                ("123456789012345678901234567890", "value_error:others"),
            ],
        ),
        (
            json!({"type": "boolean"}),
            json!([true]),
            &[("true", "valid"), ("false", "value_error:others"), ("1", "type_error:simple")],
        ),
        (text.clone(), json!([7]), &[("7", "valid"), (r#""7""#, "value_error:others"), ("7.0", "type_error:simple")]),
        (
            json!({"type": "any"}),
            json!([null, ""]),
            &[("null", "valid"), (r#""""#, "valid"), ("0", "type_error:simple")],
        ),
        (
            list("string"),
            json!([["a b", "C"], ""]),
            &[
                (r#"["AB", "c."]"#, "valid"),
                ("[]", "valid"),
                (r#"["c", "ab"]"#, "value_error:list/tuple"),
                ("[1, 2]", "value_error:list/tuple"),
                (r#""a""#, "type_error:simple"),
            ],
        ),
        (
            list("integer"),
            json!([[1, 2]]),
            &[
                ("[1, 2]", "valid"),
                ("[1.0, 2]", "type_error:nested"),
                ("[true, 2]", "type_error:nested"),
                ("[2, 1]", "value_error:list/tuple"),
                ("[]", "value_error:list/tuple"),
            ],
        ),
        (
            list("integer"),
            json!(["x"]),
            &[("[1]", "value_error:others"), (r#""x""#, "valid"), (r#""X""#, "value_error:others")],
        ),
        (list("integer"), json!([[["x"]], "later"]), &[("[1]", "value_error:list/tuple")]),
    ];
    for (declared, acceptable, answers) in table {
        let case = with_param(declared, acceptable);
        for (wire, expected) in *answers {
            assert_eq!(of_value(&case, wire), *expected, "{declared} {acceptable} {wire}");
        }
    }
}

#[test]
fn objects_are_compared_key_by_key_and_the_last_error_counts() {
    let dict = with_param(&json!({"type": "dict"}), &json!([{"size": ["large", "big"], "ice": [true, ""]}]));
    for (wire, expected) in [
        (r#"{"size": "LARGE", "ice": 1}"#, "valid"),
        (r#"{"size": "big"}"#, "valid"),
        (r#"{"size": "small"}"#, "value_error:dict_value"),
        (r#"{"size": "big", "sugar": 1}"#, "value_error:dict_key"),
        (r#"{"ice": false}"#, "value_error:dict_key"),
        ("{}", "value_error:dict_key"),
        (r#"[{"size": "big"}]"#, "type_error:simple"),
    ] {
        assert_eq!(of_value(&dict, wire), expected, "{wire}");
    }
    let none = with_param(&json!({"type": "dict"}), &json!([""]));
    assert_eq!(of_value(&none, "{}"), "dict_checker:unclear");
    let list = json!({"type": "array", "items": {"type": "dict"}});
    let dicts = with_param(&list, &json!([[{"n": [1]}, {"n": [2]}], ""]));
    for (wire, expected) in [
        (r#"[{"n": 1}, {"n": 2.0}]"#, "valid"),
        ("[]", "valid"),
        // The empty string is the last alternative, and its length is 0.
        (r#"[{"n": 1}]"#, "value_error:list_dict_count"),
        (r#"[{"n": 2}, {"n": 1}]"#, "value_error:list_dict_count"),
    ] {
        assert_eq!(of_value(&dicts, wire), expected, "{wire}");
    }
    let one = with_param(&list, &json!([[{"n": [1]}]]));
    assert_eq!(of_value(&one, r#"[{"n": 2}]"#), "value_error:dict_value");
    assert_eq!(of_value(&one, r#"[{"m": 2}]"#), "value_error:dict_key");
    assert_eq!(of_value(&one, "[1]"), "type_error:nested");
    let never = with_param(&list, &json!([]));
    assert_eq!(of_value(&never, "[]"), "type_error:simple");
}

#[test]
fn where_the_official_program_raises_the_answer_is_wrong() {
    let float = with_param(&json!({"type": "float"}), &json!([5.0]));
    assert_eq!(of_value(&float, &"9".repeat(400)), "checker:raised");
    let list = json!({"type": "array", "items": {"type": "dict"}});
    let dicts = with_param(&list, &json!(["", [{"n": [1]}]]));
    assert_eq!(of_value(&dicts, r#"["text"]"#), "checker:raised");
}

#[test]
fn arguments_are_checked_in_the_order_sent() {
    let case = with_param(&json!({"type": "string"}), &json!(["x"]));
    let call = |name: &str, arguments: &str| {
        judged(&case, &json!({"tool_calls": [{"name": name, "arguments": arguments}], "content": "ignored"}))
    };
    for (name, arguments, expected) in [
        ("lab_set", r#"{"q": 1, "p": "X"}"#, "valid"),
        ("lab.set", r#"{"q": 1, "p": "X"}"#, "simple_function_checker:wrong_func_name"),
        ("Lab_set", r#"{"q": 1, "p": "X"}"#, "simple_function_checker:wrong_func_name"),
        ("lab_set", r#"{"p": 1}"#, "simple_function_checker:missing_required"),
        ("lab_set", r#"{"q": 2, "r": 1}"#, "value_error:others"),
        ("lab_set", r#"{"r": 1, "q": 2}"#, "simple_function_checker:unexpected_param"),
        ("lab_set", r#"{"q": 1}"#, "simple_function_checker:missing_optional"),
        ("lab_set", r#"{"q": 2, "p": "x", "q": 1}"#, "valid"),
        ("lab_set", r#"{"q": 1, "p": "x"} "#, "valid"),
        ("lab_set", r#"{"q": 1, "p": "x"}}"#, "ast_decoder:decoder_failed"),
        ("lab_set", "", "ast_decoder:decoder_failed"),
        ("lab_set", "null", "ast_decoder:decoder_wrong_output_format"),
        ("lab_set", r#""{\"q\": 1, \"p\": \"x\"}""#, "ast_decoder:decoder_wrong_output_format"),
    ] {
        assert_eq!(call(name, arguments), expected, "{name} {arguments}");
    }
}

#[test]
fn answers_without_calls_are_empty_or_do_not_decode() {
    let case = with_param(&json!({"type": "string"}), &json!(["x"]));
    let (empty, failed) = ("simple_function_checker:wrong_count", "ast_decoder:decoder_failed");
    for (row, expected) in [
        (json!({"tool_calls": []}), empty),
        (json!({"tool_calls": [], "content": "text"}), empty),
        (json!({"tool_calls": null, "content": ""}), empty),
        (json!({"content": ""}), empty),
        (json!({"tool_calls": null, "content": null}), failed),
        (json!({"content": "text"}), failed),
        (json!({}), failed),
        (json!({"tool_calls": [{"name": "lab_set", "arguments": null}]}), failed),
        (json!({"tool_calls": [{"name": "lab_set", "arguments": {}}]}), failed),
        (json!({"tool_calls": [{"arguments": "{}"}]}), "simple_function_checker:wrong_func_name"),
        (
            json!({"tool_calls": [{"function": {"name": "lab_set", "arguments": "[]"}}]}),
            "ast_decoder:decoder_wrong_output_format",
        ),
        (json!({"tool_calls": [{"name": "a", "arguments": "[]"}, {"name": "a", "arguments": "x"}]}), failed),
    ] {
        assert_eq!(judged(&case, &row), expected, "{row}");
    }
}

fn two_functions() -> Value {
    let function = |name: &str| {
        json!({"name": name, "description": "Does.", "parameters": {"type": "dict", "properties":
            {"n": {"type": "integer", "description": "How many."}}, "required": ["n"]}})
    };
    json!([function("first"), function("second")])
}

#[test]
fn several_calls_are_matched_greedily() {
    let call = |name: &str, n: u64| json!({"name": name, "arguments": format!("{{\"n\": {n}}}")});
    let answers = json!([{"first": {"n": [1, 2]}}, {"first": {"n": [1]}}]);
    let parallel = case("live_parallel_multiple", &two_functions(), &answers);
    let of = |calls: &[Value]| judged(&parallel, &json!({"tool_calls": calls}));
    assert_eq!(of(&[call("first", 2), call("first", 1)]), "valid");
    // The first answer takes the first call that it can, and leaves the second none, though another matching exists.
    let greedy = "parallel_function_checker_no_order:cannot_find_match";
    assert_eq!(of(&[call("first", 1), call("first", 2)]), greedy);
    assert_eq!(of(&[call("first", 2)]), "parallel_function_checker_no_order:wrong_count");
    assert_eq!(of(&[call("first", 2), call("second", 1)]), greedy);
    let multiple = case("multiple", &two_functions(), &json!([{"second": {"n": [1]}}]));
    let of = |calls: &[Value]| judged(&multiple, &json!({"tool_calls": calls}));
    assert_eq!(of(&[call("second", 1)]), "valid");
    assert_eq!(of(&[call("first", 1)]), "simple_function_checker:wrong_func_name");
    assert_eq!(of(&[call("second", 1), call("second", 1)]), "multiple_function_checker:wrong_count");
}

#[test]
fn malformed_calls_abstain_unless_abstention_is_strict() {
    let none = case("irrelevance", &two_functions(), &Value::Null);
    let any = case("live_relevance", &two_functions(), &Value::Null);
    let (good, bad) = (json!({"name": "made up", "arguments": "{}"}), json!({"name": "first", "arguments": "[]"}));
    for (row, abstains, strictly) in [
        (json!({"content": "Sorry."}), true, true),
        (json!({"tool_calls": []}), true, true),
        (json!({"tool_calls": [good]}), false, false),
        (json!({"tool_calls": [bad]}), true, false),
        (json!({"tool_calls": [good, bad]}), true, false),
        (json!({"tool_calls": [{"name": "first", "arguments": "{\"n\": NaN}"}]}), false, false),
    ] {
        let expected = |holds: bool, error: &'static str| if holds { "valid" } else { error };
        assert_eq!(judged(&none, &row), expected(abstains, "irrelevance_error:decoder_success"), "{row}");
        assert_eq!(judged(&any, &row), expected(!abstains, "relevance_error:decoder_failed"), "{row}");
        let mut row = row;
        row["id"] = json!("case");
        let answer = BfclRow::parse(&row.to_string()).unwrap().answer;
        assert_eq!(none.judge_strictly(&answer).is_ok(), strictly, "{row}");
    }
}

#[test]
fn lower_case_is_that_of_python() {
    let normal = |text: &str| normalised(&PyStr::from(text));
    for (text, expected) in [
        ("ΑΣ", "ας"),
        ("ΑΣΑ", "ασα"),
        ("Σ", "σ"),
        ("ΑΣ.Α", "ασα"),
        ("İ", "i\u{307}"),
        ("\u{212a}", "k"),
        ("ẞ", "ß"),
        ("\u{10d50}A\u{a7cb}", "\u{10d50}a\u{a7cb}"),
        ("it's - a_test", "it\"satest"),
        ("a\u{a0}b\tc", "a\u{a0}b\tc"),
    ] {
        assert_eq!(normal(text), PyStr::from(expected), "{text}");
    }
    let PyValue::Str(wide) = parse(r#""A \ud800Σ-\udc00B""#).unwrap() else { unreachable!() };
    assert_eq!(format!("{:?}", normalised(&wide)), r#""a\ud800σ\udc00b""#);
}

#[test]
fn tools_are_converted_as_deep_as_the_official_conversion_goes() {
    let functions = json!([{"name": "a.b.c", "description": "Does.", "response": {"type": "dict"}, "parameters": {
    "type": "dict", "required": ["x"], "properties": {
        "x": {"type": "float", "description": "X.", "default": 1.0},
        "bare": {"description": "No type."},
        "odd": {"type": "datetime", "description": "D."},
        "rows": {"type": "array", "items": {"type": "array", "items": {"type": "float", "items": {"type": "dict"}}}},
        "items": {"type": "tuple", "items": {"type": "dict", "properties": {"f": {"type": "float", "description": "F."}}}},
        "inner": {"type": "dict", "properties": {"l": {"type": "ArrayList", "items": {"type": "Bigint"}}}, "items": {"type": "any"}},
    }}}]);
    let mut written = String::new();
    convert_tools(&py(&functions)).unwrap().write_json(&mut written);
    let hint = "Does. Note that the provided function is in Python 3 syntax.";
    let expected = json!([{"type": "function", "function": {"name": "a_b_c", "description": hint, "response": {"type": "dict"},
    "parameters": {"type": "object", "required": ["x"], "properties": {
        "x": {"type": "number", "description": "X. This is a float type value.", "default": 1.0, "format": "float"},
        "bare": {"description": "No type.", "type": "string"},
        "odd": {"type": "string", "description": "D."},
        "rows": {"type": "array", "items": {"type": "array", "items": {"type": "number", "items": {"type": "dict"}}}},
        "items": {"type": "array", "items": {"type": "object", "properties":
            {"f": {"type": "number", "description": "F. This is a float type value.", "format": "float"}}}},
        "inner": {"type": "object", "properties": {"l": {"type": "array", "items": {"type": "integer"}}}, "items": {"type": "any"}},
    }}}}]);
    assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), expected);
    for broken in
        [json!({}), json!([1]), json!([{"name": "f"}]), json!([{"name": "f", "description": "", "parameters": {}}])]
    {
        assert!(convert_tools(&py(&broken)).is_err(), "{broken}");
    }
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    for (name, word) in
        [("simple_java", "Java"), ("multi_turn_base", "simulators"), ("memory", "turns"), ("simpel", "no category")]
    {
        let error = name.parse::<Category>().unwrap_err().to_string();
        assert!(error.contains(word) && error.contains("live_parallel_multiple"), "{error}");
    }
    for category in Category::ALL {
        assert_eq!(category.name().parse(), Ok(category));
    }
}

#[test]
fn broken_data_is_refused() {
    let good = two_functions();
    let broken = |functions: &Value, answers: &Value| {
        BfclCase::new(Category::Multiple, &py(functions), Some(&py(answers))).unwrap_err().to_string()
    };
    assert!(broken(&good, &json!([{"third": {}}])).contains("third"));
    assert!(broken(&good, &json!([{"first": {"n": 1}}])).contains("list"));
    assert!(broken(&json!([]), &json!([{"first": {}}])).contains("function"));
    let mut odd = good;
    odd[0]["parameters"]["properties"]["n"]["type"] = json!("whole");
    assert!(broken(&odd, &json!([{"first": {}}])).contains("whole"));
}

/// The case of a suite that is judged by `bfcl` alone.
fn suite_case(strict: bool) -> Value {
    let mut tools = String::new();
    convert_tools(&py(&two_functions())).unwrap().write_json(&mut tools);
    json!({"tools": serde_json::from_str::<Value>(&tools).unwrap(),
        "expected": {"category": "multiple", "function": two_functions(), "ground_truth": [{"first": {"n": [1]}}]},
        "scorers": [{"type": "bfcl", "strict_abstention": strict}]})
}

#[test]
fn on_live_answers_the_verdict_is_the_official_one() {
    let prepared = Judge::new().prepare(&instance(&suite_case(false))).unwrap();
    let call = |name: &str, arguments: &str| json!({"calls": [{"name": name, "arguments": arguments}], "finish": "tool_calls"});
    // Wire string, the official error type, the Fault that explains it.
    for (answer, error_type, fault) in [
        (call("first", r#"{"n": 1}"#), None, None),
        // No JSON to strict parsers, and passed: what is odd is recorded beside the verdict.
        (call("first", r#"{"n": 1.5}"#), Some("type_error:simple"), Some(Fault::SchemaMismatch)),
        (call("first", r#"{"n": 2}"#), Some("value_error:others"), Some(Fault::WrongAnswer)),
        (call("third", r#"{"n": 1}"#), Some("simple_function_checker:wrong_func_name"), Some(Fault::UnknownName)),
        (call("first", r#"{"n": 1"#), Some("ast_decoder:decoder_failed"), Some(Fault::InvalidJson)),
        (call("first", "[1]"), Some("ast_decoder:decoder_wrong_output_format"), Some(Fault::SchemaMismatch)),
        (
            json!({"content": "I cannot.", "finish": "stop"}),
            Some("ast_decoder:decoder_failed"),
            Some(Fault::WrongAnswer),
        ),
        (
            json!({"content": "", "finish": "stop"}),
            Some("multiple_function_checker:wrong_count"),
            Some(Fault::EmptyAnswer),
        ),
    ] {
        let judgement = prepared.judge(&completion(&answer));
        assert_eq!(judgement.error_type.as_deref(), error_type, "{answer}: {}", judgement.explanation);
        assert_eq!(judgement.fault, fault, "{answer}: {}", judgement.explanation);
        assert_eq!(judgement.score, Some(if error_type.is_none() { 1.0 } else { 0.0 }));
    }
}

#[test]
fn implicit_checks_do_not_fail_what_the_official_checker_passes() {
    let prepared = Judge::new().prepare(&instance(&suite_case(false))).unwrap();
    let answer = json!({"content": "<think>hm</think>", "finish": "tool_calls",
        "calls": [{"name": "first", "arguments": "{\"n\": 1}"}]});
    let judgement = prepared.judge(&completion(&answer));
    assert_eq!(judgement.verdict, Verdict::Pass);
    assert_eq!(judgement.secondary, [Fault::MarkupLeak]);
    // Beside another scorer the implicit checks count as everywhere.
    let mut mixed = suite_case(false);
    mixed["scorers"] = json!([{"type": "bfcl"}, {"type": "leak"}]);
    let judgement = Judge::new().prepare(&instance(&mixed)).unwrap().judge(&completion(&answer));
    assert_eq!(judgement.verdict, Verdict::Fail(Fault::MarkupLeak));
}

#[test]
fn a_broken_case_of_a_suite_is_an_error() {
    for (key, value) in
        [("category", json!("simple_java")), ("ground_truth", json!([{"f": {}}])), ("function", json!([{}]))]
    {
        let mut case = suite_case(false);
        case["expected"][key] = value;
        assert!(Judge::new().prepare(&instance(&case)).is_err(), "{key}");
    }
}

proptest! {
    #[test]
    fn any_line_is_a_row_or_refused(line in "\\PC{0,80}|\\{\"id\":\"a\",\"tool_calls\":\\[[\\[\\]{}:,\"a-z0-9]{0,40}\\]\\}") {
        if let Ok(row) = BfclRow::parse(&line) {
            let _ = with_param(&json!({"type": "string"}), &json!(["x"])).judge(&row.answer);
        }
    }

    #[test]
    fn any_arguments_get_a_verdict(arguments in "\\PC{0,60}|\\{\"[pq]\":[\\[\\]{}:,\"pq0-9.e-]{0,30}\\}") {
        let case = with_param(&json!({"type": "dict"}), &json!([{"p": ["x", 1]}, ""]));
        let row = json!({"tool_calls": [{"name": "lab_set", "arguments": arguments}]});
        prop_assert!(!judged(&case, &row).is_empty());
    }

    #[test]
    fn the_order_of_arguments_may_change_the_error_and_never_the_validity(
        values in prop::collection::vec(prop_oneof![Just("1"), Just("2"), Just("1.0"), Just("\"x\"")], 4),
        order in Just(["a", "b", "c", "d"]).prop_shuffle(),
    ) {
        let properties: Value = ["a", "b", "c", "d"].iter().map(|n| ((*n).to_owned(), json!({"type": "integer"}))).collect();
        let functions = json!([{"name": "f", "parameters": {"properties": properties, "required": []}}]);
        let answers = json!([{"f": {"a": [1], "b": [1, 2], "c": [1], "d": [2, 1]}}]);
        let case = case("simple_python", &functions, &answers);
        let of = |names: &[&str; 4]| {
            let one = |n: &&str| {
                let at = ["a", "b", "c", "d"].iter().position(|m| m == n).unwrap();
                format!("\"{n}\": {}", values[at])
            };
            let arguments = format!("{{{}}}", names.iter().map(one).collect::<Vec<_>>().join(", "));
            judged(&case, &json!({"tool_calls": [{"name": "f", "arguments": arguments}]})) == "valid"
        };
        prop_assert_eq!(of(&["a", "b", "c", "d"]), of(&order));
    }
}
