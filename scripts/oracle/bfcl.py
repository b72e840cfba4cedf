#!/usr/bin/env python3
"""Compares `exactod score --scorer bfcl` and `exactod suite tools` with the official checker, on a fresh corpus.

A development tool: neither the checker nor its data is part of exactod. See README.md beside this file.

    python bfcl.py --seed 1 --rows 12000 --exactod target/release/exactod --data <wheel or folder>

Exit code 0: verdict and error type equal on every row, tools equal for every case. 1: differences, all printed.
"""

import argparse
import collections
import copy
import hashlib
import importlib.abc
import importlib.machinery
import json
import os
import random
import subprocess
import sys
import tempfile
import types

AST = ["simple_python", "multiple", "parallel", "parallel_multiple",
       "live_simple", "live_multiple", "live_parallel", "live_parallel_multiple"]
RELEVANCE = ["irrelevance", "live_irrelevance", "live_relevance"]
UNSATISFIABLE = {"live_simple_106-63-0", "live_simple_112-68-0",
                 "live_multiple_862-181-3", "live_multiple_964-207-0"}
# The model entry whose handler decodes OpenAI tool calls and whose function names lose their dots.
MODEL = "kimi-k2-0905-preview-FC"
# What exactod answers where the official program raises instead of judging.
RAISED = "checker:raised"

# ---------------------------------------------------------------------------------------------------------------------
# The official checker, without the packages that it never touches while checking.

STUBBED = """openai anthropic cohere mistralai google boto3 botocore writerai qwen_agent pandas huggingface_hub
transformers sentence_transformers faiss rank_bm25 networkx html2text bs4 serpapi overrides vllm sglang
datamodel_code_generator tabulate typer torch pydantic wandb httpx mistral_common soundfile PIL accelerate nltk
sklearn""".split()


class StubLoader(importlib.abc.Loader):
    def create_module(self, spec):
        return StubModule(spec.name)

    def exec_module(self, module):
        pass


class Anything:
    """An object that can be called and asked for anything."""

    def __init__(self, *args, **kwargs):
        pass

    def __call__(self, *args, **kwargs):
        # Used as a decorator it leaves the function as it is.
        if len(args) == 1 and callable(args[0]) and not kwargs:
            return args[0]
        return Anything()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything()


class StubModule(types.ModuleType):
    __path__ = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        if name[:1].isupper():
            # Base classes, and exceptions to be caught.
            made = type(name, (Exception,), {"__init__": lambda self, *a, **k: None})
        else:
            made = Anything()
        setattr(self, name, made)
        return made


class StubFinder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in STUBBED:
            return importlib.machinery.ModuleSpec(name, StubLoader(), is_package=True)
        return None


class Official:
    """The official data, decoder and rules."""

    def __init__(self):
        sys.meta_path.insert(0, StubFinder())
        os.environ.setdefault("BFCL_PROJECT_ROOT", tempfile.mkdtemp(prefix="bfcl-oracle-"))
        import bfcl_eval.utils as utils
        from bfcl_eval.constants.enums import Language, ModelStyle, ReturnFormat
        from bfcl_eval.constants.model_config import MODEL_CONFIG_MAPPING
        from bfcl_eval.constants.type_mappings import GORILLA_TO_OPENAPI
        from bfcl_eval.eval_checker import eval_runner
        from bfcl_eval.model_handler.utils import convert_to_tool

        self.utils, self.runner = utils, eval_runner
        self.language, self.format = Language.PYTHON, ReturnFormat.PYTHON
        self.convert = lambda fns: convert_to_tool(fns, GORILLA_TO_OPENAPI, ModelStyle.OPENAI_COMPLETIONS)
        assert MODEL_CONFIG_MAPPING[MODEL].underscore_to_dot
        self.handler = eval_runner.get_handler(MODEL)
        assert self.handler.is_fc_model
        self.cases = {}
        for category in AST + RELEVANCE:
            entries = utils.load_dataset_entry(category, include_prereq=False, include_language_specific_hint=False)
            truths = utils.load_ground_truth_entry(category) if category in AST else [None] * len(entries)
            assert len(entries) == len(truths)
            self.cases[category] = list(zip(entries, truths))

    def judge(self, category, entry, truth, calls, content):
        """(valid, error_type); what raises is told by its exception's name."""
        result = content if calls is None else [{c["name"]: c["arguments"]} for c in calls]
        entry = copy.deepcopy(entry)
        try:
            if category in RELEVANCE:
                verdict = self.runner._evaluate_single_relevance_entry(
                    self.handler, entry["id"], result, entry, MODEL, category)
            else:
                verdict = self.runner._evaluate_single_ast_entry(
                    self.handler, entry["id"], result, truth["ground_truth"], entry, MODEL, category,
                    self.language, self.format)
        except Exception as error:  # the official program would end here
            return False, RAISED, type(error).__name__
        return verdict["valid"], verdict.get("error_type"), None


# ---------------------------------------------------------------------------------------------------------------------
# Answers built from the ground truth, and what can be wrong with them.

def wire(value):
    return json.dumps(value, ensure_ascii=False)


def of_leaves(r, alternative, keep=0.5):
    """An acceptable object: one value per key, keys that may be left out sometimes left out."""
    made = {}
    for key, leaves in alternative.items():
        values = [v for v in leaves if v != ""]
        if "" in leaves and (not values or r.random() > keep):
            continue
        if values:
            made[key] = copy.deepcopy(r.choice(values))
    return made


def acceptable(r, doc, values):
    alternative = copy.deepcopy(r.choice(values))
    if doc and doc.get("type") == "dict" and isinstance(alternative, dict):
        return of_leaves(r, alternative)
    if isinstance(alternative, list) and alternative and all(isinstance(e, dict) for e in alternative):
        return [of_leaves(r, e) for e in alternative]
    return alternative


class Answer:
    """Calls as (name, arguments) with what is known of them."""

    def __init__(self, r, entry, truth, first=False):
        self.r = r
        self.docs = entry["function"]
        self.calls = []
        for call in truth:
            (name, params), = call.items()
            doc = next((f for f in self.docs if f["name"] == name), self.docs[0])
            properties = doc["parameters"]["properties"]
            arguments = {}
            for param, values in params.items():
                given = [v for v in values if v != ""]
                if not given and param in doc["parameters"]["required"]:
                    given = [""] if "" in values else []
                    arguments.update({param: "" for _ in given})
                    continue
                if not given or ("" in values and (first or r.random() < 0.3)):
                    continue
                arguments[param] = acceptable(r, properties.get(param), given[:1] if first else given)
            self.calls.append({"name": doc["name"].replace(".", "_"), "args": arguments, "doc": doc, "truth": params})

    def pick(self):
        return self.r.choice(self.calls)

    def pick_param(self, kinds=None):
        """A random sent argument of one of these Python types, with its call; None when there is none."""
        found = [(c, p) for c in self.calls for p, v in c["args"].items() if kinds is None or type(v) in kinds]
        return self.r.choice(found) if found else None

    def wire(self):
        return [{"name": c["name"], "arguments": c.get("wire", wire(c["args"]))} for c in self.calls]


STRINGS = {
    "upper": str.upper, "lower": str.lower, "swapcase": str.swapcase, "title": str.title,
    "spaces": lambda s: " ".join(s), "ignored_in": lambda s: s[:1] + "-_*^./, " + s[1:],
    "ignored_out": lambda s: "".join(c for c in s if c not in " ,./-_*^"),
    "tab": lambda s: s[:1] + "\t" + s[1:], "newline_in": lambda s: s[:1] + "\n" + s[1:],
    "nbsp": lambda s: s.replace(" ", "\u00a0") + "\u00a0", "colon": lambda s: s + ":", "bang": lambda s: s + "!",
    "quotes": lambda s: s.replace("'", '"') if "'" in s else s.replace('"', "'"), "quoted": lambda s: f"'{s}'",
    "trailing_newline": lambda s: s + "\n", "suffix": lambda s: s + "x", "empty": lambda s: "",
    "other": lambda s: "something else", "dash": lambda s: "-", "reverse": lambda s: s[::-1],
    "kelvin": lambda s: s.replace("k", "\u212a").replace("K", "\u212a"),
    "dotted_i": lambda s: s.replace("i", "\u0130"), "sharp_s": lambda s: s.replace("ss", "\u00df"),
    "sigma": lambda s: s + "\u03a3", "fullwidth": lambda s: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in s),
    "accents": lambda s: s.replace("e", "\u00e9"), "surrogate": lambda s: s + "\ud800", "nul": lambda s: s + "\x00",
    "number": lambda s: 7, "float": lambda s: 7.5, "null": lambda s: None, "bool": lambda s: True, "list": lambda s: [s],
    "dict": lambda s: {"value": s}, "strip": str.strip, "emoji": lambda s: s + "\U0001f600",
}
INTS = {
    "float": float, "half": lambda n: n + 0.5, "string": str, "bool": lambda n: bool(n), "list": lambda n: [n],
    "wrong": lambda n: n + 1, "negative": lambda n: -n, "zero": lambda n: 0, "null": lambda n: None,
    "huge": lambda n: n + 10 ** 30, "huger": lambda n: 10 ** 400 + n, "dict": lambda n: {}, "2^64": lambda n: n + 2 ** 64,
}
FLOATS = {
    "int": int, "truncated": lambda x: float(int(x)), "string": str, "wrong": lambda x: x * 2 + 1,
    "near": lambda x: x + 1e-9, "ulp": lambda x: x * (1 + 2 ** -52), "bool": bool, "list": lambda x: [x],
    "null": lambda x: None, "huge_int": lambda x: 10 ** 25, "huge": lambda x: 10 ** 400, "round": lambda x: round(x, 1),
}
BOOLS = {
    "flip": lambda b: not b, "string": lambda b: str(b).lower(), "python": str, "int": int, "float": float,
    "null": lambda b: None, "list": lambda b: [b], "yes": lambda b: "yes",
}


def string_mutation(r):
    return STRINGS[r.choice(list(STRINGS))]


def scalar_mutation(r, value):
    if value is None:
        return r.choice(["", "None", "null", 0, False, []])
    table = {str: STRINGS, bool: BOOLS, int: INTS, float: FLOATS}[type(value)]
    return table[r.choice(list(table))](value)


def element_mutation(r, value):
    """One element of a list, or the list."""
    if isinstance(value, dict):
        return dict_mutation(r, value)
    if isinstance(value, list):
        return list_mutation(r, value)
    return scalar_mutation(r, value)


def list_mutation(r, items):
    items = list(items)
    kind = r.randrange(15)
    at = r.randrange(len(items)) if items else 0
    if kind == 0:
        return items[::-1]
    if kind == 1:
        return items[:-1]
    if kind == 2:
        return items + items[:1]
    if kind == 3:
        return []
    if kind == 4:
        return wire(items)
    if kind == 5:
        return [items]
    if kind == 6:
        return [[i] for i in items]
    if kind == 7:
        return items + [None]
    if kind == 8:
        return items + ["extra"]
    if kind == 9:
        return [str(i) for i in items]
    if kind == 10:
        return items[0] if items else None
    if kind == 11:
        return {"items": items}
    if kind == 12:
        return [float(i) if type(i) is int else i for i in items]
    if items:
        items[at] = element_mutation(r, items[at])
    return items


def dict_mutation(r, value):
    value = dict(value)
    kind = r.randrange(12)
    key = r.choice(list(value)) if value else None
    if kind == 0 and value:
        del value[key]
    elif kind == 1:
        value["extra_key"] = 1
    elif kind == 2:
        return {}
    elif kind == 3:
        return wire(value)
    elif kind == 4:
        return [value]
    elif kind == 5 and value:
        return {k.upper(): v for k, v in value.items()}
    elif kind == 6 and value:
        value = dict(reversed(list(value.items())))
        value[key] = "no such value"
    elif kind == 7 and value:
        del value[key]
        value["extra_key"] = None
    elif kind == 8 and value:
        value[key] = [value[key]]
    elif value:
        value[key] = element_mutation(r, value[key])
    return value


# Mutations of one argument's value.
def m_scalar(r, a):
    found = a.pick_param({str, int, float, bool, type(None)})
    if found:
        call, param = found
        call["args"][param] = scalar_mutation(r, call["args"][param])


def m_string(r, a):
    found = a.pick_param({str})
    if found:
        call, param = found
        call["args"][param] = string_mutation(r)(call["args"][param])


def m_list(r, a):
    found = a.pick_param({list})
    if found:
        call, param = found
        call["args"][param] = list_mutation(r, call["args"][param])


def m_dict(r, a):
    found = a.pick_param({dict})
    if found:
        call, param = found
        call["args"][param] = dict_mutation(r, call["args"][param])


def m_drop(r, a):
    found = a.pick_param()
    if found:
        del found[0]["args"][found[1]]


def m_rename(r, a):
    found = a.pick_param()
    if found:
        call, param = found
        new = r.choice([param + "_", param.upper(), "unknown", param[:-1]])
        call["args"] = {new if p == param else p: v for p, v in call["args"].items()}


def m_odd_value(r, a):
    found = a.pick_param()
    if found:
        call, param = found
        value = call["args"][param]
        call["args"][param] = r.choice([None, str(value), wire(value), [value], {}, [], "", True, 0, 1.0, {"a": value}])


def m_undeclared(r, a):
    call = a.pick()
    extra = {"undeclared_parameter": r.choice([1, "x", None])}
    call["args"] = {**call["args"], **extra} if r.random() < 0.5 else {**extra, **call["args"]}


def m_unlisted(r, a):
    """A declared parameter that the answer does not list, or that may be left out, with its default."""
    call = a.pick()
    properties = call["doc"]["parameters"]["properties"]
    unsent = [p for p in properties if p not in call["args"]]
    if unsent:
        param = r.choice(unsent)
        call["args"][param] = properties[param].get("default", r.choice(["", 0, [], {}, None, False, "x"]))


def m_optional_empty(r, a):
    call = a.pick()
    optional = [p for p, values in call["truth"].items() if "" in values]
    if optional:
        call["args"][r.choice(optional)] = r.choice(["", [], {}, [""], [{}], ["x"], [[]], None, 0, "-"])


def m_empty_arguments(r, a):
    a.pick()["args"] = {}


def m_argument_order(r, a):
    call = a.pick()
    items = list(call["args"].items())
    r.shuffle(items)
    call["args"] = dict(items)


def m_two(r, a):
    for _ in range(2):
        r.choice([m_scalar, m_odd_value, m_list, m_dict, m_argument_order])(r, a)


# Mutations of the calls.
def m_calls(r, a):
    kind = r.randrange(15)
    calls = a.calls
    call = a.pick()
    if kind == 0:
        r.shuffle(calls)
    elif kind == 1:
        calls.reverse()
    elif kind == 2:
        calls.remove(call)
    elif kind == 3:
        calls.append(copy.deepcopy(call))
    elif kind == 4 and len(calls) > 1:
        calls[r.randrange(len(calls))] = copy.deepcopy(call)
    elif kind == 5 and len(calls) > 1:
        other = a.pick()
        call["args"], other["args"] = other["args"], call["args"]
    elif kind == 6:
        call["name"] = "made_up_function"
    elif kind == 7:
        call["name"] = r.choice(a.docs)["name"].replace(".", "_")
    elif kind == 8:
        call["name"] = call["doc"]["name"]
    elif kind == 9:
        call["name"] = call["name"].upper()
    elif kind == 10:
        call["name"] = " " + call["name"]
    elif kind == 11:
        call["name"] = r.choice(["", call["name"] + "\n", call["name"].replace("_", "-"), call["name"] + "\ud800"])
    elif kind == 12:
        a.calls = []
    elif kind == 13:
        a.calls = calls * 2
    else:
        calls.insert(0, {"name": "made_up_function", "args": {}, "doc": call["doc"], "truth": {}})


def python_repr(value):
    return repr(value)


# Mutations of the wire string.
def m_wire(r, a):
    if not a.calls:
        return
    call = a.pick()
    text = wire(call["args"])
    name, value = (r.choice(list(call["args"].items())) if call["args"] else ("x", 1))
    made = [
        text[: r.randrange(len(text))], wire([call["args"]]), "", "null", text + r.choice(["x", "}", "{}", " \n", "\x0b"]),
        r.choice([" ", "\n\t\r "]) + text + " \n", python_repr(call["args"]), "```json\n" + text + "\n```", wire(text),
        json.dumps(call["args"], ensure_ascii=True), "\ufeff" + text, text.replace('"', "'"), text[:-1] + ",}",
        text[:-1] + (", " if call["args"] else "") + wire(name) + ": " + wire(value) + "}",
        "{" + wire(name) + ': "first", ' + text[1:] if call["args"] else text,
        text[:-1] + (", " if call["args"] else "") + wire(name) + ': "last"}',
        '"text"', "5", "true", "[]", "{}", " ", "\u00a0" + text, "[" + text + "]", text.replace(", ", ",\n\t"),
        '{"a": ' + "[" * 500 + "]" * 500 + "}", "[" * 3000 + "]" * 3000, "NaN", "{" + wire(name) + ": " + "9" * 5000 + "}",
        text.replace("{", "{ // comment\n", 1), text.replace(":", "=", 1), "{" + wire(name) + ': "\x01"}', "{" + wire(name) + ': "\\x"}',
        "{" + wire(name) + ': "\ud800"}', "{" + wire(name) + ': "\\ud800\\udc00"}', "{" + wire(name) + ': "\\udc00\\ud800"}',
    ]
    call["wire"] = r.choice(made)


def m_numbers(r, a):
    """Numbers that parsers read differently, in the place of a value."""
    found = a.pick_param({int, float}) if r.random() < 0.7 else a.pick_param()
    if not found:
        return
    call, param = found
    value = call["args"][param]
    odd = ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "123456789012345678901234567890", "1" * 400, "1" * 4300,
           "1" * 4301, "9223372036854775808", "-9223372036854775809", "9007199254740993", "1E5", "5e0", "-0", "-0.0", "1e-400",
           "01", "+1", "1.", ".5", "0x10", "1_000", "1e5.0", "-", "- 1", "True", "None", "nan", "1e23"]
    if type(value) in (int, float):
        odd += [f"{value}e0", f"{value * 10}E-1", f"{value}.0", f"{value}.", f"{value}e", f"0{value}", f"{value}" + "0" * 30 + "e-30"] * 2
    marker = "@@here@@"
    call["args"][param] = marker if type(value) is not list or r.random() < 0.5 else [marker] + value[1:]
    call["wire"] = wire(call["args"]).replace(wire(marker), r.choice(odd))


def m_nothing(r, a):
    pass


MUTATIONS = [(m_nothing, 12), (m_scalar, 22), (m_string, 14), (m_list, 16), (m_dict, 10), (m_drop, 5), (m_rename, 4),
             (m_odd_value, 8), (m_undeclared, 3), (m_unlisted, 6), (m_optional_empty, 6), (m_empty_arguments, 2),
             (m_argument_order, 3), (m_two, 6), (m_calls, 14), (m_wire, 12), (m_numbers, 10)]


def no_call(r):
    """(calls, content) of an answer without calls."""
    return r.choice([
        (None, "I cannot help with that."), (None, None), (None, ""), ([], None), ([], ""), ([], "text"), (None, " "),
        (None, '[{"name": "f", "arguments": {}}]'), (None, "{}"), (None, "[]"), (None, "\ud800"), (None, "f(x=1)"),
    ])


def relevance_answer(r, entry):
    docs = entry["function"]
    name = r.choice(docs)["name"].replace(".", "_") if docs else "f"
    good = {"name": name, "arguments": r.choice(["{}", '{"a": 1}', '{"a": NaN}', ' {"a": [1, {}]} ', '{"a": 1e999}', '{"n": ' + "1" * 400 + "}"])}
    bad = {"name": name, "arguments": r.choice(["", "{", "null", "[]", '"{}"', "[1]", "{}x", "{'a': 1}", "NaN", "5", "\ufeff{}",
                                                '{"n": ' + "1" * 4301 + "}", '{"a":' * 2000 + "1" + "}" * 2000, '{"a": "\n"}'])}
    return r.choice([
        lambda: no_call(r), lambda: no_call(r), lambda: ([good], None), lambda: ([good], "text"), lambda: ([bad], None),
        lambda: ([good, bad], None), lambda: ([bad, good], None), lambda: ([good, good], ""),
        lambda: ([{**good, "name": "made_up"}], None), lambda: ([{**good, "name": ""}], None),
    ])()


def holds_nested(entry, truth):
    """Whether an answer holds an object, or a list of objects or lists."""
    values = [v for call in truth["ground_truth"] for params in call.values() for vs in params.values() for v in vs]
    return any(type(v) is dict or (type(v) is list and any(type(e) in (dict, list) for e in v)) for v in values)


def corpus(official, seed, rows):
    """Rows over all categories and cases; every case at least once when there are rows enough."""
    r = random.Random(f"bfcl-oracle-1:{seed}")
    everything = [(c, e, t) for c, cases in official.cases.items() for e, t in cases]
    made = []
    while len(made) < rows:
        order = [x for x in everything if not made or x[0] in AST or r.random() < 0.3]
        r.shuffle(order)
        # Rare shapes come more often: parallel calls from users, objects, lists of objects and of lists.
        order += [x for x in everything if x[0] in ("live_parallel", "live_parallel_multiple")] * 4
        order += [x for x in everything if x[2] and holds_nested(x[1], x[2])] * 12
        for category, entry, truth in order:
            if category in RELEVANCE:
                calls, content = relevance_answer(r, entry)
                label = "relevance"
            elif r.random() < 0.04:
                calls, content = no_call(r)
                label = "no_call"
            else:
                answer = Answer(r, entry, truth["ground_truth"])
                before = canonical_answer(answer)
                for _ in range(4):  # a mutation may find nothing that it could change
                    mutate, = r.choices([m for m, _ in MUTATIONS], [w for _, w in MUTATIONS])
                    mutate(r, answer)
                    if mutate is m_nothing or canonical_answer(answer) != before:
                        break
                calls, content = answer.wire(), r.choice([None, None, "", "Here it is."])
                label = mutate.__name__
            made.append((category, entry, truth, calls, content, label))
    # Every case once, then the rest by chance.
    first, rest = made[:len(everything)], made[len(everything):]
    r.shuffle(rest)
    made = (first + rest)[:rows]
    r.shuffle(made)
    return made


def canonical_answer(answer):
    return json.dumps(answer.wire())


# ---------------------------------------------------------------------------------------------------------------------
# Comparing.

def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def compare_rows(official, exactod, data, seed, rows):
    made = corpus(official, seed, rows)
    lines = [json.dumps({"id": e["id"], "category": c, "tool_calls": calls, "content": content})
             for c, e, _, calls, content, _ in made]
    run = subprocess.run([*exactod, "score", "--scorer", "bfcl", "--data", data], input="\n".join(lines) + "\n",
                         capture_output=True, text=True)
    answers = [json.loads(line) for line in run.stdout.splitlines()]
    if len(answers) != len(made):
        sys.exit(f"{len(answers)} verdicts for {len(made)} rows, exit code {run.returncode}: {run.stderr.strip()}")
    counts, raised, different = collections.Counter(), collections.Counter(), 0
    labels = collections.Counter()
    for (category, entry, truth, calls, content, label), answer in zip(made, answers):
        valid, error_type, exception = official.judge(category, entry, truth, calls, content)
        counts[error_type or "valid"] += 1
        labels[label] += 1
        if exception:
            raised[exception] += 1
        if (answer["id"], answer["valid"], answer["error_type"]) != (entry["id"], valid, error_type):
            different += 1
            print(json.dumps({"different": entry["id"], "category": category, "mutation": label,
                              "official": [valid, error_type, exception], "exactod": answer,
                              "tool_calls": calls, "content": content})[:3000])
    distinct = len({(c, e["id"]) for c, e, *_ in made})
    print(f"seed {seed}: {len(made)} rows over {distinct} cases and {len({c for c, *_ in made})} categories, "
          f"{different} different")
    print("  official verdicts:", ", ".join(f"{k} {n}" for k, n in counts.most_common()))
    print("  mutations:", ", ".join(f"{k} {n}" for k, n in labels.most_common()))
    print("  official exceptions:", dict(raised))
    return different


def compare_tools(official, exactod, data):
    different = total = 0
    for category in AST + RELEVANCE:
        entries = official.utils.load_dataset_entry(category, include_prereq=False)
        run = subprocess.run([*exactod, "suite", "tools", "--data", data, "--category", category],
                             capture_output=True, text=True)
        ours = [json.loads(line) for line in run.stdout.splitlines()]
        if len(ours) != len(entries):
            sys.exit(f"{category}: {len(ours)} lines for {len(entries)} cases: {run.stderr.strip()}")
        for entry, line in zip(entries, ours):
            total += 1
            expected = canonical(official.convert(entry["function"]))
            sha = [hashlib.sha256(t.encode()).hexdigest() for t in (expected, canonical(line["tools"]))]
            if line["id"] != entry["id"] or sha[0] != sha[1]:
                different += 1
                print(json.dumps({"different_tools": entry["id"], "ours": line["tools"]})[:2000])
    print(f"tools: {total} cases, {different} different")
    return different


def check_unsatisfiable(official):
    """Which cases no built answer passes, over many tries."""
    failing = set()
    for category in AST:
        for entry, truth in official.cases[category]:
            r = random.Random(entry["id"])
            for attempt in range(200):
                answer = Answer(r, entry, truth["ground_truth"], first=attempt == 0)
                if official.judge(category, entry, truth, answer.wire(), None)[0]:
                    break
            else:
                failing.add(entry["id"])
    print("unsatisfiable:", sorted(failing))
    return int(failing != UNSATISFIABLE)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--exactod", default="target/release/exactod", help="the binary, or a command")
    parser.add_argument("--data", required=True, help="the wheel, its unpacked folder or the data folder")
    parser.add_argument("--seed", type=int, nargs="+", default=[1])
    parser.add_argument("--rows", type=int, default=12000)
    parser.add_argument("--no-tools", action="store_true")
    parser.add_argument("--unsatisfiable", action="store_true", help="also find the cases that nothing passes")
    parser.add_argument("--write", metavar="FILE", help="only write the rows of the first seed, for measuring speed")
    options = parser.parse_args()
    official = Official()
    if options.write:
        with open(options.write, "w") as out:
            for category, entry, _, calls, content, _ in corpus(official, options.seed[0], options.rows):
                out.write(json.dumps({"id": entry["id"], "category": category, "tool_calls": calls, "content": content}) + "\n")
        return 0
    exactod = options.exactod.split()
    different = sum(compare_rows(official, exactod, options.data, seed, options.rows) for seed in options.seed)
    if not options.no_tools:
        different += compare_tools(official, exactod, options.data)
    if options.unsatisfiable:
        different += check_unsatisfiable(official)
    return int(different > 0)


if __name__ == "__main__":
    sys.exit(main())
