#!/usr/bin/env python3
"""Writes src/scoring/ifeval/english.txt: what the official sentence splitter does with abbreviations and common words.

The vocabulary is ours: the words of the texts named on the command line, and the lists of candidates below. Each is
put into short test sentences, and the splitter's answer decides on which list it goes.

Usage: english.py TEXT... > src/scoring/ifeval/english.txt
"""

import collections
import re
import sys
import textwrap

import official_ifeval

CANDIDATES = """
mr mrs ms dr prof sr jr st rev hon gov sen rep reps gen col maj capt lt sgt cpl adm cmdr messrs mmes pres supt
inc corp co ltd bros llc plc cos assn univ dept est dist div mfg mgr asst natl intl govt
jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed thu thur thurs fri sat sun
ala ariz ark calif cal colo conn del fla ga ill ind kan kans ky la md mass mich minn miss mo mont neb nebr nev okla ok ore
pa penn tenn tex va vt wash wis wyo d.c n.c s.c n.d s.d n.h n.j n.m n.y r.i w.va u.s u.s.a u.k u.n u.s.s.r e.u l.a
p.m a.m b.c a.d c.e e.g i.e etc viz cf al ibid op cit vs v esp approx ca no nos vol vols pp p pg ch sec fig figs eq ed eds
trans repr orig par art ave blvd rd ln hwy sq apt bldg ste mt ft pt rte sw nw se ne n s e w c.i.t
in oz lb lbs kg km cm mm ml mi hr hrs min mins sec secs ct cts tsp tbsp gal qt doz max misc temp tel ext
ph.d m.d b.a m.a b.s m.s m.b.a d.d.s j.d ll.b ll.m r.n c.p.a c.e.o c.f.o v.p d.a p.o p.s p.p.s n.b r.s.v.p a.k.a
j.r j.p j.k j.j a.a h.w t.j c.s d.h e.b f.d g.k r.j s.a l.p n.v b.v a.g s.p.a w.w k.c
a b c d e f g h i j k l m n o p q r s t u v w x y z
"""

NAMES = """
monday tuesday wednesday thursday friday saturday sunday january february march april may june july august september
october november december english french german spanish italian american british european chinese japanese indian
america england france germany spain italy china japan india russia canada mexico europe asia africa london paris
john mary james robert michael david william richard thomas charles smith johnson brown jones miller davis wilson moore
taylor anderson jackson white harris martin thompson president king queen prince doctor professor united states congress
house senate street west east north south new york washington texas california florida chicago boston
"""

WORDS = """
the of and to in a is that for it as was with be by on not he i this are or his from at which but have an had they you
were their one all we can her has there been if more when will would who so no she other its may these what them than
some him time into only do such my new about out also two any up first could our then most see me should after said your
very between made many over like well even where must people just those back through being much how before good years
still own here each man state never world day life might us great year three come without against right think while
last another find long both still use however again because himself few house same under upon work off down too take
make now know place since around part case went small came put point every number give old though found does always
home best need left better water far let side given during want whole next once both everyone everything nothing
something anything someone anyone nobody please remember imagine consider maybe perhaps finally therefore moreover
furthermore meanwhile nevertheless nonetheless otherwise instead additionally similarly consequently thus hence overall
firstly secondly thirdly lastly certainly absolutely sure yes okay thanks thank hello hi dear welcome congratulations
although unless until whenever wherever whether despite unlike within beyond above below among along across behind
today tomorrow yesterday tonight morning evening night week month summer winter spring autumn food music book story
love hope dream heart friend family child children mother father woman women men boy girl dog cat bird tree flower sun
moon star sky sea river mountain road city town school student teacher job money business company market price product
service customer team project plan idea question answer problem solution reason result example fact number amount level
health doctor hospital medicine car train bus plane bike travel trip hotel restaurant coffee tea bread milk cheese meat
fish fruit vegetable apple orange banana lemon potato tomato rice salt sugar pepper butter oil egg cake chocolate wine
beer movie film song dance game sport ball player winner art picture color red blue green yellow black white brown
write read speak listen learn teach study play run walk jump swim eat drink sleep wake cook clean wash buy sell pay
open close start stop begin end try help ask tell say talk call show look watch hear feel touch smell taste keep hold
bring send get set turn move change grow build create design develop add mix stir heat bake boil cut chop slice pour
serve enjoy follow check choose pick include avoid ensure note visit explore discover experience join share click
"""


def splits(tokenizer, text):
    return len(tokenizer.tokenize(text)) > 1


def main():
    official_ifeval.load()
    from lm_eval.tasks.ifeval import instructions_util

    tokenizer = instructions_util._get_sentence_tokenizer()
    counted = collections.Counter()
    for path in sys.argv[1:]:
        with open(path, encoding="utf-8") as file:
            counted.update(re.findall(r"(?<![\w.])[a-z]{2,15}(?![\w.])", file.read()))
    common = {word for word, times in counted.items() if times >= 2}

    letters = "abcdefghijklmnopqrstuvwxyz"
    vocabulary = sorted(common | set(letters) | set(WORDS.split()) | set(NAMES.split()))
    lists = collections.OrderedDict((name, []) for name in ("abbreviations", "starters", "after-numbers", "small", "both"))
    pairs = {first + between + second for first in letters for second in letters for between in ("", ".")}
    for word in sorted(set(CANDIDATES.split()) | pairs | set(vocabulary)):
        # A word of the test that never starts a sentence: only a known abbreviation keeps it together.
        if not splits(tokenizer, f"We saw x-{word}. of them"):
            lists["abbreviations"].append(word)
    for word in vocabulary:
        capital = word.capitalize()
        # After an abbreviation a capital starts a sentence if the word is else written small, or is a known starter.
        after_abbreviation = splits(tokenizer, f"We met Prof. {capital} there")
        # After an initial it does unless the word is always written with a capital.
        after_initial = splits(tokenizer, f"We met Q. {capital} there")
        if after_initial:
            lists["small" if after_abbreviation else "both"].append(word)
        elif after_abbreviation:
            lists["starters"].append(word)
        if not splits(tokenizer, f"We had 12. {capital} there"):
            lists["after-numbers"].append(word)
    for name, words in lists.items():
        print(textwrap.fill(f"{name}: {' '.join(words)}", 118, break_on_hyphens=False, break_long_words=False))
        print()


if __name__ == "__main__":
    main()
