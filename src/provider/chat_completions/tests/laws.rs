//! Laws that hold for any bytes.

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// Pieces of JSON and of streams that are likely to meet the odd paths.
fn token() -> impl Strategy<Value = Vec<u8>> {
    let known = [
        "data: ",
        "\n\n",
        "\r",
        "event: error\n",
        "[DONE]",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"choices\"",
        "\"delta\"",
        "\"message\"",
        "\"index\"",
        "\"tool_calls\"",
        "\"function\"",
        "\"arguments\"",
        "\"name\"",
        "\"id\"",
        "\"usage\"",
        "\"error\"",
        "null",
        "true",
        "0",
        "-1",
        "1e400",
        "18446744073709551616",
        "\"\\ud800\"",
        "\"\\",
        "\"x\"",
        "\"finish_reason\"",
        "\"content\"",
        "\"\"",
        r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{"}}]}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":"stop"}]}"#,
    ];
    prop_oneof![
        8 => prop::sample::select(known.to_vec()).prop_map(|s| s.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ]
}

proptest! {
    #[test]
    fn no_bytes_make_the_parsers_panic(tokens in prop::collection::vec(token(), 0..40)) {
        let bytes = tokens.concat();
        let _ = parse_plain(&bytes);
        let _ = assemble(&bytes);
    }

    #[test]
    fn any_split_of_a_stream_gives_the_same_answer(
        tokens in prop::collection::vec(token(), 0..24),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let mut bytes = tokens.concat();
        bytes.extend_from_slice(br#"

data: {"id":"i","choices":[{"index":0,"delta":{"role":"assistant","content":"h\u00e9"},"finish_reason":"stop"}]}

data: [DONE]

"#);
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        at.extend([0, bytes.len()]);
        at.sort_unstable();
        let mut assembler = StreamAssembler::new(true);
        for window in at.windows(2) {
            assembler.push(&bytes[window[0]..window[1]]);
        }
        prop_assert_eq!(assembler.finish(), assemble(&bytes));
    }

    #[test]
    fn text_and_arguments_come_back_as_sent(content in any::<String>(), arguments in any::<String>(), at in any::<prop::sample::Index>()) {
        let call = |arguments: &str| json!({"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": arguments}});
        let plain = json!({"choices": [{"index": 0, "finish_reason": "stop",
            "message": {"role": "assistant", "content": content, "tool_calls": [call(&arguments)]}}]});
        let completion = parse_plain(plain.to_string().as_bytes()).unwrap();
        prop_assert_eq!(completion.content.as_ref(), Some(&content));
        prop_assert_eq!(completion.tool_calls[0].arguments.as_ref(), Some(&arguments));

        let middle = (at.index(arguments.len() + 1)..=arguments.len()).find(|i| arguments.is_char_boundary(*i)).unwrap();
        let (head, tail) = arguments.split_at(middle);
        let frames = [
            json!({"choices": [{"index": 0, "delta": {"role": "assistant", "content": content, "tool_calls": [call(head)]}}]}).to_string(),
            json!({"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": tail}}]}, "finish_reason": "stop"}]}).to_string(),
        ];
        let streamed = assemble(sse(&frames).as_bytes()).unwrap();
        prop_assert_eq!(streamed.content.as_ref(), Some(&content));
        prop_assert_eq!(streamed.tool_calls[0].arguments.as_ref(), Some(&arguments));
    }
}
