#!/usr/bin/env python3
"""Compares `exactod score --scorer ifeval` with the official IFEval checker on a corpus made from a seed.

Prompts and answers are our own. Exits 1 when an exact instruction type differs anywhere, or when an approximate one
agrees on less than its share.

Usage: NLTK_DATA=DIR/nltk_data DIR/venv/bin/python scripts/oracle/ifeval.py --seed 7 --rows 4000 --exactod target/release/exactod
"""

import argparse
import collections
import json
import random
import subprocess
import sys

import corpus_ifeval
import official_ifeval

APPROXIMATE = {
    "language:response_language",
    "length_constraints:number_sentences",
    "change_case:capital_word_frequency",
    "change_case:english_capital",
    "change_case:english_lowercase",
}
AGREEMENT_MIN = 0.97
DIFFERENCES_SHOWN = 40


def official(utils, row):
    """The official verdicts, or None where the checker raises (a keyword that Python's re rejects)."""
    example = utils.InputExample(0, row["instruction_id_list"], row["prompt"], row["kwargs"])
    try:
        strict = utils.test_instruction_following_strict(example, row["response"]).follow_instruction_list
        loose = utils.test_instruction_following_loose(example, row["response"]).follow_instruction_list
    except Exception:
        return None
    return {"strict": [bool(v) for v in strict], "loose": [bool(v) for v in loose]}


def has_surrogate(row):
    return any("\ud800" <= c <= "\udfff" for c in row["response"])


def ours(command, rows):
    # Every other row with escapes for what is not ASCII; lone surrogates cannot be written without.
    lines = "".join(json.dumps(row, ensure_ascii=i % 2 == 1 or has_surrogate(row)) + "\n" for i, row in enumerate(rows))
    done = subprocess.run(command, input=lines.encode("utf-8"), stdout=subprocess.PIPE, check=True)
    answers = [json.loads(line) for line in done.stdout.decode("utf-8").splitlines()]
    if len(answers) != len(rows):
        sys.exit(f"{len(rows)} rows went in, {len(answers)} came out")
    return answers


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--exactod", default="target/release/exactod")
    parser.add_argument("--bare", action="store_true", help="the program takes no arguments (a scratch build)")
    parser.add_argument("--corpus", help="also write the rows with the official verdicts to this file")
    parser.add_argument("--show-approximate", action="store_true", help="print each difference of approximate types too")
    args = parser.parse_args()

    utils = official_ifeval.load()
    rng = random.Random(args.seed)
    rows = [corpus_ifeval.row(rng, utils) for _ in range(args.rows)]
    expected = [official(utils, row) for row in rows]
    found = ours([args.exactod] if args.bare else [args.exactod, "score", "--scorer", "ifeval"], rows)
    if args.corpus:
        with open(args.corpus, "w", encoding="utf-8") as out:
            for row, verdict in zip(rows, expected):
                out.write(json.dumps({**row, "official": verdict}, ensure_ascii=False) + "\n")

    same, total, passed = collections.Counter(), collections.Counter(), collections.Counter()
    raised, shown, unasked = 0, 0, []
    for row, want, got in zip(rows, expected, found):
        if want is None:
            raised += 1
            if None not in got["strict"] and any(row["response"].split()):
                unasked.append(row)
            continue
        for mode in ("strict", "loose"):
            for i, kind in enumerate(row["instruction_id_list"]):
                total[kind] += 1
                passed[kind] += want[mode][i]
                if want[mode][i] == got[mode][i]:
                    same[kind] += 1
                elif (kind not in APPROXIMATE or args.show_approximate) and shown < DIFFERENCES_SHOWN:
                    shown += 1
                    print(f"{kind} {mode}: official {want[mode][i]}, exactod {got[mode][i]}")
                    print(f"  kwargs {json.dumps(row['kwargs'][i], ensure_ascii=False)}")
                    print(f"  response {row['response']!r}")
    wrong = False
    print(f"{'type':<50} {'verdicts':>8} {'true':>7} {'agree':>9}")
    for kind in sorted(total):
        share = same[kind] / total[kind]
        wrong |= share < (AGREEMENT_MIN if kind in APPROXIMATE else 1)
        mark = "~" if kind in APPROXIMATE else " "
        print(f"{mark}{kind:<49} {total[kind]:>8} {passed[kind] / total[kind]:>7.1%} {share:>9.3%}")
    exact = [kind for kind in total if kind not in APPROXIMATE]
    print(f"seed {args.seed}: {sum(total.values())} verdicts over {len(total)} types, {raised} rows on which the official"
          f" checker raises; exact types {sum(same[k] for k in exact)} of {sum(total[k] for k in exact)} equal")
    for row in unasked[:DIFFERENCES_SHOWN]:
        print(f"the official checker raises, exactod gives a verdict: {json.dumps(row, ensure_ascii=False)}")
    sys.exit(1 if wrong or unasked or len(total) < 25 else 0)


if __name__ == "__main__":
    main()
