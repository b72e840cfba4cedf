//! Tables per instruction type and laws over all of them.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::scoring::budget::PatternBudget;

/// Verdicts of one row of a table.
const BOTH: (bool, bool) = (true, true);
const LOOSE: (bool, bool) = (false, true);
const NEITHER: (bool, bool) = (false, false);

fn parse(id: &str, kwargs: &Value) -> Result<Instruction, Unscorable> {
    Instruction::parse(id, kwargs.as_object().unwrap())
}

fn compiled(instructions: &Value) -> Result<Vec<Instruction>, String> {
    compile(instructions, &PatternBudget::default())
}

fn check(id: &str, kwargs: Value, rows: &[(&str, (bool, bool))]) {
    let instruction = parse(id, &kwargs).unwrap_or_else(|e| panic!("{id} {kwargs}: {e}"));
    for (text, expected) in rows {
        let response = Response::new(text);
        let found = (instruction.strict(&response).unwrap(), instruction.loose(&response).unwrap());
        assert_eq!(found, *expected, "{id} {kwargs} on {text:?}");
    }
}

#[test]
fn what_the_rules_and_tokens_rest_on_is_there() {
    assert!(rules::fixed_patterns_compile());
    assert!(tokens::steps_compile());
    assert_eq!(language::detect("Die Nachbarn haben gestern Abend lange gefeiert.").as_deref(), Some("de"));
    assert_eq!(language::detect("12 34 !?"), None);
}

#[test]
fn keywords() {
    check(
        "keywords:existence",
        json!({"keywords": ["rain", "s?now"]}),
        &[("No rain, so NOW", BOTH), ("rain", NEITHER), ("r*ain* snow", LOOSE), (" ", NEITHER)],
    );
    check(
        "keywords:frequency",
        json!({"keyword": " tea ", "frequency": 2, "relation": "at least"}),
        &[("Tea, steam", BOTH), ("tea", NEITHER), ("t*ea tea", LOOSE)],
    );
    check(
        "keywords:frequency",
        json!({"keyword": "tea", "frequency": 2, "relation": "less than"}),
        &[("tea", BOTH), ("tea\ntea", LOOSE), ("tea tea", NEITHER), ("", NEITHER)],
    );
    check(
        "keywords:forbidden_words",
        json!({"forbidden_words": ["cat", "था"]}),
        &[
            ("concatenate", BOTH),
            ("a Cat", NEITHER),
            ("Cat:\ndog", LOOSE),
            ("शांत था", BOTH),
            ("dog² cat", NEITHER),
            ("cat²", BOTH),
        ],
    );
    check(
        "keywords:letter_frequency",
        json!({"letter": "E", "let_frequency": 2.0, "let_relation": "at least"}),
        &[("eE", BOTH), ("e", NEITHER), ("é e", NEITHER)],
    );
    check(
        "keywords:letter_frequency",
        json!({"letter": "k", "let_frequency": 1, "let_relation": "less than"}),
        &[("abc", BOTH), ("\u{212a}elvin", NEITHER), ("K\nabc", LOOSE)],
    );
}

#[test]
fn lengths() {
    let words = |n: u32, relation: &str| json!({"num_words": n, "relation": relation});
    check(
        "length_constraints:number_words",
        words(3, "at least"),
        &[("don't go", BOTH), ("two words", NEITHER), ("शांत था", BOTH), ("x² ½ _", BOTH), ("a-b", NEITHER)],
    );
    check(
        "length_constraints:number_words",
        words(3, "less than"),
        &[("a b", BOTH), ("a b c", NEITHER), ("a b\nc", LOOSE)],
    );
    check(
        "length_constraints:number_paragraphs",
        json!({"num_paragraphs": 2}),
        &[
            ("a ***\nb", BOTH),
            ("***a***b***", BOTH),
            ("a *** *** b", NEITHER),
            ("a", NEITHER),
            ("Sure ***\na\n*** b", LOOSE),
        ],
    );
    let nth = json!({"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Rain"});
    check(
        "length_constraints:nth_paragraph_first_word",
        nth,
        &[
            ("a\n\nRAIN, again", BOTH),
            ("a\n\n'\"rain's here", BOTH),
            ("a\n\n\"'rain", NEITHER),
            ("a\n\nrainy", NEITHER),
            ("a\n\n\n\nrain", NEITHER),
            ("a\n\nb\n\nrain.", LOOSE),
            ("a\n\nb\n\nrain\n\nc", LOOSE),
            ("a\n\nb\n\nc\n\nrain", NEITHER),
            ("a\n\nrain\n\nb", LOOSE),
            ("a\n\n**rain** now", LOOSE),
            ("x", NEITHER),
        ],
    );
}

#[test]
fn content_and_format() {
    check(
        "detectable_content:number_placeholders",
        json!({"num_placeholders": 2}),
        &[("[a] []", BOTH), ("[a [b]", NEITHER), ("[a\n] [b]", NEITHER)],
    );
    let postscript = |marker: &str, rows: &[(&str, (bool, bool))]| {
        check("detectable_content:postscript", json!({"postscript_marker": marker}), rows);
    };
    postscript("P.S.", &[("Bye.\np. s. x", BOTH), ("PS x", NEITHER), ("P.P.S. x", BOTH), ("p.\ts.", BOTH)]);
    postscript("P.P.S", &[("p.p. s x", BOTH), ("P.S. x", NEITHER), ("P.*P.S*", LOOSE)]);
    postscript("Note:", &[("a NOTE: b", BOTH), ("a note b", NEITHER)]);
    check(
        "detectable_format:number_bullet_lists",
        json!({"num_bullets": 2}),
        &[
            ("* a\n- b", BOTH),
            ("** a\n- b", NEITHER),
            ("a - b\n\n  * c\n\t-d", BOTH),
            ("*\na\n-", BOTH),
            ("- a\n- b\n- c", LOOSE),
            ("-a\r- b", NEITHER),
        ],
    );
    check(
        "detectable_format:constrained_response",
        json!({}),
        &[("Well: My answer is no.", BOTH), ("my answer is no.", NEITHER), ("My answer is *maybe*.", LOOSE)],
    );
    check(
        "detectable_format:number_highlighted_sections",
        json!({"num_highlights": 2}),
        &[("*a* *b*", BOTH), ("**a**", NEITHER), ("**a** **b**", BOTH), ("* * *a*", NEITHER), ("*a\nb*", NEITHER)],
    );
    check(
        "detectable_format:multiple_sections",
        json!({"section_spliter": " Day ", "num_sections": 2}),
        &[("Day 1 a\nDay2", BOTH), ("Day 1 day 2", NEITHER), ("Day  1 Day X", NEITHER), ("Day ١ Day ٢", BOTH)],
    );
    let groups = json!({"section_spliter": "(Day)", "num_sections": 2});
    check("detectable_format:multiple_sections", groups, &[("Day 1", BOTH), ("Day", NEITHER)]);
    check(
        "detectable_format:json_format",
        json!({}),
        &[
            ("```json\n{\"a\": NaN}\n```", BOTH),
            (" 12 ", BOTH),
            ("```\n```", NEITHER),
            ("```python\n1\n```", LOOSE),
            ("```python 1```", NEITHER),
            ("Here:\n[1]", LOOSE),
            ("{'a': 1}", NEITHER),
            ("```json```1``````", NEITHER),
        ],
    );
    check(
        "detectable_format:title",
        json!({}),
        &[("<<a>>", BOTH), ("<< >>", NEITHER), ("<<a\nb>>", NEITHER), ("<<<<>>>>", NEITHER), ("x <<y>> z", BOTH)],
    );
}

#[test]
fn combinations_and_ends() {
    check(
        "combination:two_responses",
        json!({}),
        &[
            ("a\n******\nb", BOTH),
            ("a ****** a", NEITHER),
            ("******a******b", BOTH),
            ("a****** ******b", NEITHER),
            ("a*******b", BOTH),
            ("a\n***\n***\nb", NEITHER),
        ],
    );
    check(
        "combination:repeat_prompt",
        json!({"prompt_to_repeat": " Say  hi\n"}),
        &[("say  HI. Hi!", BOTH), ("say hi", NEITHER), ("Sure:\nSay  hi", LOOSE), ("**Say  hi**", LOOSE)],
    );
    check(
        "startend:end_checker",
        json!({"end_phrase": "The end. "}),
        &[("It was THE END.\"\n", BOTH), ("The end", NEITHER), ("The end.\nBye", LOOSE), ("*The end.*", LOOSE)],
    );
    check(
        "startend:quotation",
        json!({}),
        &[(" \"a\"\n", BOTH), ("\"\"", BOTH), ("\"", NEITHER), ("“a”", NEITHER), ("Here:\n\"a\"", LOOSE)],
    );
    check("punctuation:no_comma", json!({}), &[("a، b，", BOTH), ("a, b", NEITHER), ("Sure, this:\nno", LOOSE)]);
}

#[test]
fn cases_and_languages() {
    check(
        "language:response_language",
        json!({"language": "it"}),
        &[
            ("La bambina gioca nel giardino con il suo cane bianco.", BOTH),
            ("The girl is playing in the garden with her white dog.", NEITHER),
            ("123", BOTH),
        ],
    );
    let english = "the road was long and nobody knew where it would end";
    check(
        "change_case:english_lowercase",
        json!({}),
        &[(english, BOTH), ("The Road was long", NEITHER), ("1", NEITHER)],
    );
    check(
        "change_case:english_capital",
        json!({}),
        &[
            // Of words in capitals the detector sees the first letters only, so it goes by little.
            ("LA BAMBINA GIOCA NEL GIARDINO CON IL SUO CANE", BOTH),
            ("Sure:\nLA BAMBINA GIOCA NEL GIARDINO CON IL SUO CANE", LOOSE),
            (&english.to_uppercase(), NEITHER),
            (english, NEITHER),
        ],
    );
    let capitals = |n: i32, relation: &str| json!({"capital_frequency": n, "capital_relation": relation});
    check(
        "change_case:capital_word_frequency",
        capitals(2, "at least"),
        &[("NASA and the U.S. agree", BOTH), ("A cat", NEITHER), ("(IT) is \"ON\"", BOTH), ("AB-CD x", NEITHER)],
    );
    check("change_case:capital_word_frequency", capitals(1, "less than"), &[("none here", BOTH), ("I am", NEITHER)]);
    check("change_case:capital_word_frequency", capitals(-1, "at least"), &[("none", BOTH)]);
}

#[test]
fn sentences_end_where_the_splitter_says() {
    let table = [
        ("One. Two. Three.", 3),
        ("Dr. Who came. He left.", 2),
        ("We met Mr. Smith at 5 p.m. on Mon. in Washington, D.C. by chance.", 2),
        ("He works at Acme Inc. The pay is fine.", 2),
        ("J. R. Brenner founded it.", 1),
        ("See plan B. It is better.", 2),
        ("1. Boil it. 2. Stir it.", 4),
        ("What?! No... and yes! \"Stop.\" he said.", 4),
        ("(It squeaked.) He sat down.", 2),
        ("He said “Come in.” She did.", 2),
        ("no full stop", 1),
        ("Wait... He left.", 2),
        ("Prices rose by 3.5 percent. That is all", 2),
        ("It's ok. Kurt agreed", 1),
    ];
    for (text, expected) in table {
        assert_eq!(sentences::count(text), expected, "{text:?}: {:?}", sentences::split(text));
    }
    assert_eq!(sentences::split("(It squeaked.) He sat  \n"), ["(It squeaked.)", "He sat"]);
    let bound = |n: u32, relation: &str| json!({"num_sentences": n, "relation": relation});
    check("length_constraints:number_sentences", bound(2, "at least"), &[("A b. C d.", BOTH), ("A b.", NEITHER)]);
    check(
        "length_constraints:number_sentences",
        bound(2, "less than"),
        &[("A b.", BOTH), ("A b. C d.\nE.", LOOSE), ("A b. C d. E f.", NEITHER)],
    );
}

#[test]
fn what_the_official_checker_would_draw_at_random_is_unscored() {
    let missing = [
        ("keywords:existence", json!({"keywords": []})),
        ("keywords:frequency", json!({"keyword": "a", "frequency": 0, "relation": "at least"})),
        ("keywords:frequency", json!({"keyword": "a", "frequency": 1, "relation": null})),
        ("length_constraints:number_words", json!({"relation": "at least"})),
        ("combination:repeat_prompt", json!({"prompt_to_repeat": ""})),
        ("startend:end_checker", json!({})),
    ];
    for (id, kwargs) in missing {
        assert!(matches!(parse(id, &kwargs), Err(Unscorable::Missing { .. })), "{id} {kwargs}");
    }
    let invalid = [
        ("keywords:letter_frequency", json!({"letter": "#", "let_frequency": 1, "let_relation": "at least"})),
        ("keywords:letter_frequency", json!({"letter": "ab", "let_frequency": 1, "let_relation": "at least"})),
        ("keywords:frequency", json!({"keyword": "a", "frequency": 1, "relation": "at most"})),
        ("keywords:existence", json!({"keywords": "rain"})),
        ("length_constraints:number_paragraphs", json!({"num_paragraphs": -1})),
        (
            "length_constraints:nth_paragraph_first_word",
            json!({"num_paragraphs": 2, "nth_paragraph": 3, "first_word": "a"}),
        ),
        ("language:response_language", json!({"language": "zh-cn"})),
    ];
    for (id, kwargs) in invalid {
        assert!(matches!(parse(id, &kwargs), Err(Unscorable::Invalid { .. })), "{id} {kwargs}");
    }
    let broken = json!({"forbidden_words": ["fine", "(?<=a)b"]});
    let why = parse("keywords:forbidden_words", &broken).unwrap_err();
    assert!(why.to_string().contains("linear time"), "{why}");
    let unknown = parse("count:conjunctions", &json!({})).unwrap_err();
    assert_eq!(unknown, Unscorable::UnknownType { id: "count:conjunctions".to_owned() });
}

#[test]
fn five_of_twenty_five_types_are_approximate() {
    let ids: BTreeSet<&str> = InstructionKind::ALL.iter().map(|k| k.id()).collect();
    assert_eq!(ids.len(), 25);
    assert_eq!(InstructionKind::ALL.iter().filter(|k| !k.is_exact()).count(), 5);
    assert!(InstructionKind::ALL.iter().all(|k| InstructionKind::find(k.id()) == Some(*k)));
}

#[test]
fn a_row_keeps_order_and_says_what_has_no_verdict() {
    let row = Row::parse(
        &json!({
            "prompt": "p", "response": "<think>a, b</think>\nYes", "key": 7,
            "instruction_id_list": ["punctuation:no_comma", "made:up", "keywords:existence", "startend:quotation"],
            "kwargs": [{"letter": null}, null, {"keywords": ["yes"], "num_words": null}, {}],
        })
        .to_string(),
    )
    .unwrap();
    let verdict = serde_json::to_value(row.judge().unwrap()).unwrap();
    assert_eq!(verdict["strict"], json!([true, null, true, false]));
    assert_eq!(verdict["loose"], json!([true, null, true, false]));
    assert_eq!(verdict["unscored"].as_array().unwrap().len(), 1);
    assert_eq!((&verdict["unscored"][0]["index"], &verdict["unscored"][0]["id"]), (&json!(1), &json!("made:up")));
    let short = Row { kwargs: vec![], ..row };
    assert!(short.judge().unwrap_err().contains("4 instructions but 0 entries"));
}

#[test]
fn a_blank_answer_follows_nothing_whatever_the_pattern() {
    let row = |response: &str| {
        let ids = ["keywords:forbidden_words", "made:up"];
        let row =
            json!({"response": response, "instruction_id_list": ids, "kwargs": [{"forbidden_words": ["a**"]}, {}]});
        Row::parse(&row.to_string()).unwrap().judge().unwrap()
    };
    assert_eq!((row("\t\n ").strict, row("").loose), (vec![Some(false), None], vec![Some(false), None]));
    assert_eq!(row("*").strict, [None, None], "here the official checker raises");
}

#[test]
fn rows_are_read_as_python_reads_them() {
    let line = r#"{"prompt": NaN, "x": {"a": 1, "a": 2}, "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{"num_words": NaN}], "response": "\ud83d, \ud83d\ude00"}"#;
    let row = Row::parse(line).unwrap();
    assert_eq!(row.response, "\u{fffd}, \u{1f600}");
    assert_eq!(row.judge().unwrap().strict, [Some(false)]);
    for bad in ["[]", "{", r#"{"instruction_id_list": [1], "kwargs": [], "response": ""}"#, r#"{"response": ""}"#] {
        assert!(Row::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_list_of_a_hundred_thousand_keywords_has_no_verdict() {
    let keywords: Vec<String> = (0..100_000).map(|n| format!("a{{0,{}}}b", n % 9)).collect();
    let row = Row::parse(&json!({
        "response": "ab", "instruction_id_list": ["keywords:existence", "keywords:existence", "punctuation:no_comma"],
        "kwargs": [{"keywords": keywords}, {"keywords": ["a"]}, {}],
    }).to_string()).unwrap();
    // What the list used up is missing for the instructions behind it.
    let verdict = row.judge().unwrap();
    assert_eq!(verdict.strict, [None, None, Some(true)]);
    assert!(verdict.unscored[0].why.contains("at most 256"), "{}", verdict.unscored[0].why);
}

#[test]
fn instructions_of_a_case_are_read_with_all_their_problems() {
    let one = json!({"id": "punctuation:no_comma"});
    assert_eq!(compiled(&json!([one, {"id": "startend:quotation", "kwargs": {}}])).unwrap().len(), 2);
    for value in [json!([]), json!({}), json!(["x"]), json!([{"kwargs": {}}]), json!(vec![one.clone(); 65])] {
        assert!(compiled(&value).unwrap_err().contains("list of 1 to 64"), "{value}");
    }
    assert!(compiled(&json!([{"id": "startend:quotation", "kwarg": {}}])).unwrap_err().contains("no key `kwarg`"));
    let two = json!([{"id": "made:up"}, one, {"id": "startend:end_checker"}]);
    let message = compiled(&two).unwrap_err();
    assert!(
        message.contains("`made:up` is not implemented") && message.contains("`end_phrase` is not given"),
        "{message}"
    );
}

/// One instruction of every type.
fn one_of_each() -> Vec<Instruction> {
    let kwargs: Value = json!({
        "keywords": ["a", "[b-d]+"], "keyword": "a", "frequency": 1, "relation": "at least", "forbidden_words": ["x", "é"],
        "letter": "a", "let_frequency": 1, "let_relation": "less than", "language": "en", "num_sentences": 2,
        "num_paragraphs": 2, "nth_paragraph": 1, "first_word": "a", "num_words": 2, "num_placeholders": 1,
        "postscript_marker": "P.S.", "num_bullets": 1, "num_highlights": 1, "section_spliter": "Day", "num_sections": 1,
        "prompt_to_repeat": "a", "end_phrase": "a", "capital_frequency": 1, "capital_relation": "at least",
    });
    let kwargs: &Map<String, Value> = kwargs.as_object().unwrap();
    InstructionKind::ALL.iter().map(|k| Instruction::parse(k.id(), kwargs).unwrap()).collect()
}

/// Pieces of [`any_text`].
const PIECES: &[&str] = &[
    "a", "B", ". ", "...", "? ", "!", "\n", "\n\n", "***", "******", "*", "- ", "\"", "'", "“", "”", "[x]", "<<t>>",
    "Mr. ", "U.S. ", "1. ", "P.S. ", "Day 1 ", "```json", "{}", "\u{1c}", "é", "İ", "ß", "ा", "的", "--", ". . . ",
    "<think>", "</think>", ",", " ", "\r\n", "X. ", "e\u{301}", "Σ",
];

/// Text near the edges of the rules, or anything at all.
fn any_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![8 => prop::sample::select(PIECES).prop_map(str::to_owned), 1 => any::<String>()];
    prop::collection::vec(piece, 0..24).prop_map(|p| p.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn no_text_upsets_a_rule_and_loose_holds_wherever_strict_does(text in any_text()) {
        let response = Response::new(without_reasoning(&text));
        for instruction in one_of_each() {
            let (strict, loose) = (instruction.strict(&response).unwrap(), instruction.loose(&response).unwrap());
            prop_assert!(loose || !strict, "{:?} on {:?}", instruction.kind(), text);
            prop_assert_eq!(strict, instruction.strict(&response).unwrap());
        }
    }

    #[test]
    fn sentences_hold_the_text_in_order(text in any_text()) {
        let mut rest = text.as_str();
        for sentence in sentences::split(&text) {
            let at = rest.find(&sentence);
            prop_assert!(at.is_some(), "{:?} in {:?}", sentence, text);
            rest = &rest[at.unwrap_or(0)..];
        }
    }

    #[test]
    fn no_keyword_upsets_the_translation(keyword in any_text(), pattern in r"[a-d\\(){}\[\]*+?^$|.,0-9wsdbBZ-]{0,16}", text in any_text()) {
        for word in [keyword, pattern] {
            let mut kwargs = Map::new();
            kwargs.insert("forbidden_words".to_owned(), json!([word]));
            if let Ok(instruction) = Instruction::parse("keywords:forbidden_words", &kwargs) {
                let _ = instruction.loose(&Response::new(&text));
            }
        }
    }
}
