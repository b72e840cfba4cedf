//! Programs that mean harm: each ends, soon, with an error that names the limit.

use serde_json::{Value, json};

use super::limits::SCRIPT;
use super::*;

fn run(source: &str) -> Result<Value, String> {
    let program = Program::compile(source).map_err(|all| all[0].message.clone())?;
    program.call("f", &[], &SCRIPT).map(|(value, _)| value).map_err(|failure| failure.to_string())
}

/// A function of one expression.
fn value(expression: &str) -> Result<Value, String> {
    run(&format!("def f():\n    return {expression}\n"))
}

fn refused(source: &str, word: &str) {
    let message = run(source).expect_err(source);
    assert!(message.contains(word), "{source}\n-> {message}");
}

#[test]
fn a_guarded_program_gives_what_the_program_gives() {
    for (expression, wanted) in [
        ("1 + 2 * 3 - 8 // 3 % 2", json!(7)),
        ("(1 + 2) * (3 - 1)", json!(6)),
        ("[1, 2] + [3] * 2", json!([1, 2, 3, 3])),
        ("'%s-%d' % ('a', 5)", json!("a-5")),
        ("'{} {x!r} {{}}'.format(1, x='a')", json!("1 \"a\" {}")),
        ("f'{1 + 1}{[2]}'", json!("2[2]")),
        ("', '.join(sorted(['b', 'a'], reverse=True))", json!("b, a")),
        ("sorted(['bb', 'a'], key=lambda x: len(x))", json!(["a", "bb"])),
        ("max([3, 1], key=lambda x: -x)", json!(1)),
        ("'aXbX'.replace('X', '--', 1)", json!("a--bX")),
        ("{'a': 1}.get('b', 2)", json!(2)),
        ("{'a': 1} | {'b': 2}", json!({"a": 1, "b": 2})),
        ("{(1, 2): 'x'}[(1, 2)]", json!("x")),
        ("'b' in 'abc' and 2 not in [1] and 'k' in {'k': 1}", json!(true)),
        ("[x for x in range(5) if x % 2 == 1 if x > 1]", json!([3])),
        ("{k: v for k, v in {'a': 1}.items()}", json!({"a": 1})),
        ("'a b'.split() + list('xy'.elems())", json!(["a", "b", "x", "y"])),
        ("[1, 2, 3, 4][1:-1:1]", json!([2, 3])),
        ("'yes' if not (1 > 2) else 'no'", json!("yes")),
        ("json.decode(json.encode({'a': [1, None]}))", json!({"a": [1, null]})),
        ("(lambda x, y=2, *a, **k: [x, y, a, k])(1, 3, 4, z=5)", json!([1, 3, [4], {"z": 5}])),
        ("1 << 4 | 1", json!(17)),
        ("-(-3) + ~0", json!(2)),
        ("fixed(1.5, 2) + title('ab')", json!("1.50Ab")),
        (
            "[1.5 < 2, [1] == [1], (1, 2) < (1, 3), 'a' != 'b', 2 >= 2, 2 <= 1]",
            json!([true, true, true, true, true, false]),
        ),
    ] {
        assert_eq!(value(expression), Ok(wanted), "{expression}");
    }
}

#[test]
fn statements_keep_their_meaning_and_their_lines() {
    let source = r#"
LIMIT = 3

def helper(xs, n = 1, *rest, **named):
    """A string over
    two lines."""
    total = 0
    for i, x in enumerate(xs):
        if x == "skip":
            continue
        elif x == "stop":
            break
        elif x == "":
            pass
        else:
            total += len(x) * n
    return total, len(rest), named

def f():
    d = {"a": [1]}
    d["a"] += [2]
    d["n"] = 4
    d["n"] -= 1; d["n"] *= 2
    [p, q], r = ["x", "y"], "z"
    xs = ["aa", "skip", "", "b", "stop", "ccc"]
    return [helper(xs, LIMIT, 7, k = 1), d, p + q + r]
"#;
    assert_eq!(run(source), Ok(json!([[9, 1, {"k": 1}], {"a": [1, 2], "n": 6}, "xyz"])));
    let program =
        Program::compile("def f(x):\n\n    if x:\n        pass\n    elif 1:\n        y = 1\n        return y + [1]\n")
            .unwrap();
    assert_eq!(program.call("f", &[&json!(0)], &SCRIPT).unwrap_err().line, Some(7));
    assert_eq!(program.parameters("f"), Some((1, 1)));
}

#[test]
fn the_first_argument_comes_back_as_it_was_left() {
    let program =
        Program::compile("def f(state, n):\n    state['seen'].append(n)\n    return len(state['seen'])\n").unwrap();
    let before = json!({"seen": [1]});
    let (result, after) = program.call("f", &[&before, &json!(2)], &SCRIPT).unwrap();
    assert_eq!((result, after), (json!(2), json!({"seen": [1, 2]})));
    assert_eq!(before, json!({"seen": [1]}));
}

#[test]
fn what_runs_for_ever_is_stopped() {
    refused("def f():\n    for i in range(1000000):\n        for j in range(1000000):\n            pass\n", "limit");
    refused("def f():\n    return f()\n", "stack");
    refused(
        "def g(n):\n    return [g(n + 1) for i in range(10)] if n < 25 else n\ndef f():\n    return g(0)\n",
        "limit",
    );
    refused("def f():\n    x = range(1000000)\n    map(lambda a: map(lambda b: map(lambda c: c, x), x), x)\n", "limit");
    refused("X = [x for x in range(1000000) for y in range(1000000)]\ndef f():\n    pass\n", "limit");
}

#[test]
fn a_single_operation_takes_no_more_than_there_is() {
    for expression in [
        "'a' * 1000000000",
        "1000000000 * 'a'",
        "[1] * 1000000000",
        "(1, 2) * 1000000000",
        "list(range(1000000000))",
        "sorted(range(1 << 30))",
        "[0].extend(range(1000000000))",
        "','.join(['a' * 1000000] * 1000)",
        "('a' * 1000000).join(['b'] * 1000)",
        "('a' * 1000000).replace('a', 'b' * 1000000)",
        "'b'.replace('', 'c' * 10000000).replace('c', 'd' * 10000000)",
        "('%s' * 1000) % (('a' * 1000000,) * 1000)",
        "('%r' * 1000) % (['a' * 1000000] * 1000)",
        "('{0}' * 1000000).format('a' * 1000000)",
        "('{x}' * 1000000).format(x='a' * 1000000)",
        "str(['a' * 1000000] * 1000)",
        "repr(['a' * 1000000] * 1000)",
        "json.encode(['a' * 1000000] * 1000)",
        "1 << 100000",
        "1 << 1000000000000",
        "int('9' * 1000000)",
        "fail('a' * 100000000)",
        "max(['a' * 1000000] * 1000)",
        "sorted(['a' * 100000] * 1000)",
        "sorted(range(1000), key=lambda x: 'a' * 1000000)",
        "['a' * 30000000] == ['a' * 30000000]",
        "('a' * 10000000).split('a')",
        "('a' * 10000000).elems()",
        "(lambda *a: 1)(*([1] * 100000000))",
        "dict([(str(x), [0] * 1000000) for x in range(1000)])",
    ] {
        let message = value(expression).expect_err(expression);
        assert!(message.contains("limit") || message.contains("at most"), "{expression}: {message}");
    }
}

#[test]
fn growth_by_doubling_is_stopped() {
    let times = |line: &str| format!("def f():\n    x = START\n{}    return 1\n", line.repeat(60));
    for (start, line) in [
        ("'ab'", "    x = x + x\n"),
        ("'ab'", "    x += x\n"),
        ("[1]", "    x = x + x\n"),
        ("[1]", "    x += x\n"),
        ("[1]", "    x.extend(x)\n"),
        ("'ab'", "    x *= 2\n"),
        ("'ab'", "    x = x % x if False else f'{x}{x}'\n"),
        ("'ab'", "    x = ''.join([x, x])\n"),
        ("3", "    x = x * x\n"),
        ("3", "    x *= x\n"),
        ("3", "    x <<= 1000\n"),
        ("{'a': 1}", "    x = {k + s: 1 for k in x for s in ['a', 'b']}\n"),
    ] {
        let message = run(&times(line).replace("START", start)).expect_err(line);
        assert!(message.contains("limit") || message.contains("at most"), "{line}: {message}");
    }
}

#[test]
fn values_that_hold_one_another_are_not_walked_for_ever() {
    let built = |last: &str| {
        let grown = "    x = [x, x]\n    y = [y, y]\n    t = (t, t)\n".repeat(40);
        format!("def f():\n    x, y, t = [1], [1], (1,)\n{grown}    {last}\n")
    };
    for last in [
        "return x == y",
        "return x < y",
        "return x in [y]",
        "return [y].index(x)",
        "return str(x)",
        "return repr(x)",
        "return '%s' % (x,)",
        "return '{}'.format(x)",
        "return f'{x}'",
        "return json.encode(x)",
        "return {t: 1}",
        "return {}.get(t)",
        "return sorted([x, y])",
        "return max(x, y)",
        "d = {}; d[t] = 1",
        "return {'a': 1}[t]",
        "return t in {'a': 1}",
        "fail(x)",
        "return x",
    ] {
        // A small account: walking the default one takes a debug build seconds.
        let program = Program::compile(&built(last)).unwrap();
        let message = program.call("f", &[], &Limits { work: 1 << 20, ..SCRIPT }).unwrap_err().to_string();
        assert!(message.contains("limit"), "{last}: {message}");
    }
}

#[test]
fn deep_values_do_not_exhaust_the_stack() {
    for last in ["x == [x]", "str(x)", "json.encode(x)", "x", "'%s' % (x,)", "{'a': x} == {'a': [x]}"] {
        let source = format!("def f():\n    x = []\n    for i in range(100000):\n        x = [x]\n    return {last}\n");
        refused(&source, "nested too deep");
    }
    refused("def g():\n    return 1\nX = g()\ndef f():\n    pass\n", "outside of functions");
    refused("X = lambda: 1\ndef f():\n    pass\n", "outside of functions");
    refused("_X = [[]]\n_Y = [_X.append([_X.pop()]) for i in range(100000)]\ndef f():\n    pass\n", "nested too deep");
    refused("def f():\n    x = []\n    x.append(x)\n    return x\n", "nested too deep");
}

#[test]
fn long_and_deep_sources_are_refused_before_they_are_parsed() {
    refused(&format!("x = {}\n", "-".repeat(100_000)), "bytes");
    refused(&format!("x = {}1\n", "1+".repeat(50_000)), "bytes");
    refused(&format!("x = {}{}\n", "[".repeat(1_000), "]".repeat(1_000)), "nested brackets");
    refused(&format!("x = f'{{{}1}}'\n", "-".repeat(50_000)), "bytes");
    refused("x = f'{\"a\"}'\n", "f-string");
    refused(&"x = 1\n".repeat(100_000), "source has at most");
    refused(&format!("{}x = 1\n", " ".repeat(200)), "indented");
    let chain = format!("def f(x):\n    if x:\n        pass\n{}", "    elif x:\n        pass\n".repeat(1_000));
    refused(&chain, "elif");
    let many: String = (0..1_000).map(|i| format!("    a{i} = 1\n")).collect();
    refused(&format!("def f():\n{many}"), "at most 256");
    refused("# @starlark-rust: typecheck\ndef f():\n    pass\n", "not allowed");
    refused(
        &format!("X = \"{}\"\ndef f():\n    return len(X)\n", "a".repeat(120_000)).replace("len(X)", "X * 1000"),
        "limit",
    );
}

#[test]
fn the_deepest_statements_that_are_let_through_compile() {
    for (lead, core, tail) in [
        ("-", "1", ""),
        ("not ", "1", ""),
        ("", "1", "+1"),
        ("", "x", "[0]"),
        ("1 if 1 else ", "1", ""),
        ("lambda:", "1", ""),
    ] {
        let each = lead.replace(' ', "").len() + tail.len();
        let n = (limits::STATEMENT_BYTES_MAX - 20) / each;
        let source = format!("x = [1]\ndef f():\n    y = {}{core}{}\n    return 1\n", lead.repeat(n), tail.repeat(n));
        let outcome = Program::compile(&source);
        assert!(outcome.is_ok(), "{lead}{core}{tail}: {:?}", outcome.err());
    }
}

#[test]
fn what_cannot_be_bounded_is_refused_with_a_way_out() {
    for (source, word) in [
        ("def f():\n    g = ''.join\n    return g([])\n", "not called"),
        ("def f():\n    return map(sorted, [[1]])\n", "not called"),
        ("def f():\n    return getattr('', 'join')\n", "no `getattr`"),
        ("def f():\n    return [].__class__\n", "not called"),
        ("def range(x):\n    return x\n", "built-in"),
        ("def f(list):\n    return list\n", "built-in"),
        ("def f():\n    exactod_op = 1\n", "built-in"),
        ("def f():\n    return exactod_op(0, 1, 2)\n", "no `exactod_op`"),
        ("load('x.star', 'y')\n", "load"),
        ("def f():\n    return b'a' * 10\n", "bytes"),
        ("def g():\n    return [1]\ndef f():\n    g()[0] += 1\n", "computed"),
        ("def f():\n    open('x')\n", "open"),
        ("def f():\n    print('x')\n", "print"),
        ("import os\n", "import"),
        ("def f(:\n", ":"),
    ] {
        refused(source, word);
    }
    let problems = Program::compile("def f(x):\n    return missing + x\n").unwrap_err();
    let (span, message) = (problems[0].span.clone(), &problems[0].message);
    assert_eq!(&"def f(x):\n    return missing + x\n"[span], "missing", "{message}");
}

#[test]
fn what_is_refused_leaves_nothing_behind() {
    let program = Program::compile("def f(n):\n    return len('a' * n)\n").unwrap();
    assert!(program.call("f", &[&json!(1_000_000_000)], &SCRIPT).is_err());
    assert_eq!(program.call("f", &[&json!(10)], &SCRIPT).map(|(value, _)| value), Ok(json!(10)));
}

proptest::proptest! {
    #[test]
    fn no_text_breaks_the_compiler(text in "[a-z0-9 ()\\[\\]{}:=,.+*%'\"\n#\\\\-]{0,200}") {
        let _ = Program::compile(&text);
    }

    #[test]
    fn what_goes_in_comes_out(values: Vec<i64>, text: String) {
        let given = json!({"values": values, "text": text, "n": null, "f": [true, 0.5]});
        let program = Program::compile("def f(x):\n    return x\n").unwrap();
        proptest::prop_assert_eq!(program.call("f", &[&given], &SCRIPT).unwrap(), (given.clone(), given));
    }
}
