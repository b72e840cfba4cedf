"""Prompts, instructions and answers for the comparison with the official IFEval checker, drawn from a seed.

An answer is drawn first; arguments are then chosen close to what the answer holds, so that counts miss or hit by one.
"""

import json
import re

PROSE = """
The harbour was quiet before dawn. Three boats came back with empty nets. Nobody asked why, because everyone knew.
Dr. Amara Osei met Mr. Lindqvist at 4 p.m. in the hall. They spoke about the bridge for an hour.
She moved to Washington, D.C. in Jan. 2019. Her brother stayed in Ill. with his family.
Is it late? Yes! Very late, I think... The last tram left at 11.45.
Prices rose by 3.5 percent. Wages did not. That is the whole story.
Our firm, Brenner & Sons Inc., sells glass, lamps, mirrors etc. to the trade. It was founded by J. R. Brenner in 1931.
"Come in," said the old man. "It's cold out there." He closed the door (it squeaked) and sat down.
You can't have it both ways. I'd rather wait, but they won't. We'll see what happens on Mon. or Tues. next week.
Visit https://example.org/a?b=c or write to someone@example.org for help. Thanks!
The U.S. team won. The U.K. team came second. NATO, UNESCO and the WHO sent observers.
1. Boil the water. 2. Add the rice. 3. Wait for ten minutes, then serve.
e.g. apples, i.e. fruit; cf. the list above. See also fig. 3 and sec. 2.
Mrs. O'Neill's dog barked: "Woof!" The cat ran off... and so did the mouse.
What a day! What a night! Who would have thought? Not me.
Learning to swim takes patience, practice and a warm pool. Start with breathing. Then learn to float.
Prof. Maeda wrote to St. Mary's College about the M.B.A. programme. The answer came in Oct. from Gen. Ruiz.
I like plan A. It is simple. Plan B. is not. Vitamin C. Smith liked that too.
At 5 a.m. Peter woke up. At 6 p.m. the shop closed. At 7 p.m. They left.
The so-called "smart" lamp -- it was anything but -- failed twice. (Nobody was hurt.) We sent it back.
My answer is yes. The garden needs rain. The roses need sun, and the soil needs rest.
My answer is maybe. Ask me again next week. My answer is no longer what it was.
Cooking is simple when the kitchen is tidy. Put a pot on the stove. Pour in some oil and wait until it is hot.
The meeting is moved to No. 12 Baker St. in the afternoon. Please bring the papers. Lunch is at noon.
Bees talk by dancing. A round dance means food is near. A waggle dance means it is far away.
Our train stopped in the snow for hours. People shared bread, tea and stories. By morning we were friends.
The app crashed again. Restart it. If that does not help, call us at once.
Read the first chapter tonight. It is short. The second is longer and has more pictures.
""".strip().splitlines()

FOREIGN = """
Der Fluss war breit und ruhig. Wir gingen am Ufer entlang, bis es dunkel wurde. Morgen fahren wir nach Hause.
Le marché ouvre à sept heures. On y trouve du pain, du fromage et des fleurs. Je préfère y aller le samedi.
El tren llega tarde otra vez. Nadie se sorprende. Compramos café y esperamos en silencio.
Il giardino è pieno di luce. La nonna raccoglie i pomodori e canta. Poi prepara la cena per tutti.
O mar estava calmo naquela manhã. Os pescadores saíram cedo. Voltaram com pouca coisa, mas felizes.
Зимой здесь рано темнеет. Мы сидим у печи и читаем вслух. Потом пьём чай с вареньем.
Взимку тут рано темніє. Ми сидимо біля печі й читаємо вголос. Потім п'ємо чай.
През зимата тук се стъмва рано. Ние седим до печката и четем на глас.
वह शांत था और धीरे धीरे बोल रहा था। बाजार में बहुत भीड़ थी। हम घर लौट आए।
शहर के बाहर एक छोटा गाँव है। वहाँ लोग खेती करते हैं।
ہم کل شام بازار گئے تھے۔ وہاں بہت رش تھا اور ہم جلدی واپس آ گئے۔
كان البحر هادئا في الصباح. خرج الصيادون مبكرا وعادوا بقليل من السمك.
朝の海はとても静かでした。漁師たちは早く出かけました。みんなで朝ごはんを食べました。
早上的海很安静。渔夫们很早就出发了。我们一起吃早饭，然后回家。
아침 바다는 매우 조용했다. 어부들은 일찍 나갔다. 우리는 함께 아침을 먹었다.
Rano morze było bardzo spokojne. Rybacy wypłynęli wcześnie. Wrócili z pustymi sieciami.
Aamulla meri oli hyvin tyyni. Kalastajat lähtivät aikaisin. He palasivat tyhjin verkoin.
Buổi sáng biển rất yên tĩnh. Những người đánh cá đi sớm. Chúng tôi cùng nhau ăn sáng.
ในตอนเช้าทะเลเงียบมาก ชาวประมงออกไปแต่เช้า เรากินข้าวด้วยกัน
সকালে সমুদ্র খুব শান্ত ছিল। জেলেরা ভোরে বেরিয়ে গেল।
காலையில் கடல் மிகவும் அமைதியாக இருந்தது. மீனவர்கள் சீக்கிரம் சென்றனர்.
Asubuhi bahari ilikuwa tulivu sana. Wavuvi waliondoka mapema na kurudi jioni.
بامداد دریا بسیار آرام بود. ماهیگیران زود رفتند و با تور خالی برگشتند.
בבוקר הים היה שקט מאוד. הדייגים יצאו מוקדם וחזרו בערב.
ಬೆಳಿಗ್ಗೆ ಸಮುದ್ರ ಬಹಳ ಶಾಂತವಾಗಿತ್ತು. ಮೀನುಗಾರರು ಬೇಗನೆ ಹೋದರು.
""".strip().splitlines()

CODES = "en de fr es it pt ru uk bg hi mr ur ar ja zh zh-cn ko pl fi vi th bn ta sw fa he kn te gu pa ml ne".split()

ODD = [
    "x² + y² = z², or ½ of it", "naïve café\u0301 résumé", "İstanbul ve ısı, Iğdır", "ΟΔΥΣΣΕΥΣ ΚΑΙ ΣΟΦΙΑ", "straße STRAẞE Straße",
    "a\u001cb\u001fc", "one\u00a0two\u2003three\u3000four", "tab\there\u000bvertical\fform", "\u2028line\u2029para\u0085next",
    "zero\u200bwidth\u200djoiner", "ⒶⒷⒸ 🄰🄱 ⅧⅨ ªº", "emoji 🙂👍🏽 flags 🇫🇮", "Ǆ ǅ ǆ titles", "under_score __init__ a_1", "٣ مرات و ۴ بار",
    "[name] [address] []", "[open", "]close[", "[multi\nline]", "<<A Title>>", "<< >>", "<<>>", "<<<deep>>>", "<<a\nb>>", "<<one>> and <<two>>",
    "*hi*", "**bold**", "***both***", "* *", "****", "*a **b* c**", "**a*b**", "*\n*", "__under__", "*open", "**  **",
    "P.S. Bring a coat.", "p.s. lower", "P. S. spaced", "P.P.S and more", "P.P.S. twice", "p. p. s late", "PPS none", "PS: dear",
    "SECTION 1 Start\nSECTION 2 End", "Section 1\nSection2 x\nSection  3", "section 1", "PARAGRAPH 1 a PARAGRAPH 2 b", "Day 1: rest. Day 2: work.",
    "***", "******", "a *** b", "a***b***c", "***\n\n***", "one\n******\ntwo", "one ****** one", "* * *",
    "My answer is yes.", "My answer is no", "my answer is maybe.", "MY ANSWER IS NO.", "'quoted'", '"double"', "“curly”",
    "$100 (off) [now]", "c++ and c#", "a.b a+b a*b", "ends with newline\n", "\r\nCRLF\r\n- item\r\n* item\r\n", "\n\n\n", "\n \n", "--", "- ", "-", "*",
]

JSONS = [
    '{"a": 1}', '["x", null, true]', '{"a": NaN}', "42", '"text"', "null", "{'a': 1}", '{"a": 1,}', "{a: 1}", '{"a": "line\nbreak"}', "[1, 2",
    '{"k": "\\u00e9\\ud83d"}', '{"deep": [[[{"x": -1.5e+3}]]]}', "Infinity", "-Infinity", "01", "1.", "{}", "[]", '{"a":1}{"b":2}', "\ufeff{}",
    '{"a": "tab\there"}', "nul", '{"a" : "b" , "c":[ ] }', "1e400", "-", "True", '"\\x"',
]
FENCES = [("", ""), ("```json\n", "\n```"), ("```JSON\n", "\n```"), ("```Json\n", "\n```"), ("```\n", "\n```"), ("``` json\n", "\n```"),
          ("```json", "```"), ("Here:\n```json\n", "\n```"), ("```json\n", "\n```\nDone."), ("```python\n", "\n```"), ("```json```\n", "``````"),
          (" \n```json\n", "\n``` \n"), ("```\n```json\n", "```\n```")]

PREFACES = ["Sure! Here is the answer:\n", "Certainly:\n\n", "**Answer**\n", "# Title\n", "Here you go,\n", "\n", " \n"]
SUFFIXES = ["\nLet me know if you need more.", "\n\nHope this helps!", "\n***", "\n", "\n\n", "\nIs there anything else I can help with?", " \t"]
PHRASES = ["Is there anything else I can help with?", "Any other questions?", "The end.", "That is all", "PEACE!", "ende gut.", "…", "\"quoted end\""]
KEYWORDS = ["harbour", "the", "rain", "Bridge", "answer", "tea", "is", "a", "शांत", "था", "x²", "море", "ÉTÉ", "straße", "i", "ı", "mr", "don't",
            "c++", "a.b", "(off)", "$100", "[now]", "ro+m", "b(oa|us)t", "s?he", r"\d+", "ten minutes", "snow.", "U.S.", "K", "ß", "σ", "ſ", "_", "a|e",
            "café", "É", " tea ", "a{2}", "e{1,2}", r"\bthe\b", r"\w", "Ⓐ", "½"]
# Not regular expressions to Python: the official checker raises.
BROKEN = ["(", "[a", "*x", "a**", "(?P<x", r"\q", "x)", "[b-a]"]
LETTERS = list("aeiostzqxEAZ") + ["é", "#", "!", "K", "ab", " "]

ALL_KEYS = ["num_highlights", "relation", "num_words", "num_placeholders", "prompt_to_repeat", "num_bullets", "section_spliter", "num_sections",
            "capital_relation", "capital_frequency", "keywords", "num_paragraphs", "language", "let_relation", "letter", "let_frequency", "end_phrase",
            "forbidden_words", "keyword", "frequency", "num_sentences", "postscript_marker", "first_word", "nth_paragraph"]


def prose(rng, most):
    return " ".join(rng.choice(PROSE) for _ in range(rng.randint(1, most)))


def bullets(rng):
    marks = ["* ", "- ", "*", "-", "  * ", "\t- ", "** ", "+ ", "• ", "1. ", "\n* ", "*\n", "— "]
    return "\n".join(rng.choice(marks) + rng.choice(PROSE).split(".")[0] for _ in range(rng.randint(1, 7)))


def paragraphs(rng):
    breaks = ["\n\n", "\n\n***\n\n", "\n***\n", "***", " *** ", "\n******\n", "******", "\n\n\n", "\n\n\n\n", "\n \n", "\r\n\r\n"]
    one = rng.choice(breaks)
    parts = [rng.choice(PROSE) if rng.random() < 0.9 else rng.choice(["", " ", "\n"]) for _ in range(rng.randint(1, 6))]
    openers = ["'", '"', "'\"", "\"'", "", "", "", "...", "¿", "“"]
    parts = [rng.choice(openers) + p if rng.random() < 0.2 else p for p in parts]
    return "".join(p + (one if rng.random() < 0.85 else rng.choice(breaks)) for p in parts[:-1]) + parts[-1]


def sections(rng):
    word = rng.choice(["SECTION", "Section", "PARAGRAPH", "Day", "Audience"])
    gaps = [" ", "", "  ", "\n"]
    return "\n".join(f"{word}{rng.choice(gaps)}{rng.choice(['1', '2', '10', 'X', '٣'])}{rng.choice([' ', '', ':', chr(10)])}" + rng.choice(PROSE)
                     for _ in range(rng.randint(1, 5)))


def recase(rng, text):
    words = text.split(" ")
    for _ in range(rng.randint(0, 8)):
        i = rng.randrange(len(words))
        words[i] = words[i].upper()
    return " ".join(words)


def markup(rng):
    words = prose(rng, 2).split(" ")
    for _ in range(rng.randint(1, 6)):
        i = rng.randrange(len(words))
        mark = rng.choice(["*", "**", "***", "_"])
        words[i] = mark + words[i] + mark
    return " ".join(words)


def body(rng):
    """One answer, without regard to any instruction."""
    choice = rng.random()
    if choice < 0.02:
        return rng.choice(["", " ", "\n", "\t\n ", "\u001c", "\u00a0", "\u200b"])
    makers = [
        lambda: prose(rng, 4), lambda: bullets(rng), lambda: paragraphs(rng), lambda: sections(rng), lambda: markup(rng),
        lambda: recase(rng, prose(rng, 4)), lambda: prose(rng, 3).upper(), lambda: prose(rng, 3).lower(),
        lambda: " ".join(rng.choice(FOREIGN) for _ in range(rng.randint(1, 2))),
        lambda: rng.choice(FOREIGN) + " " + rng.choice(PROSE),
        lambda: fenced(rng),
        lambda: "\n".join(rng.choice(ODD) for _ in range(rng.randint(1, 4))),
        lambda: rng.choice(PROSE) + rng.choice([" ", "\n", ""]) + rng.choice(ODD) + rng.choice([" ", "\n", ""]) + rng.choice(PROSE),
        lambda: "# " + rng.choice(PROSE) + "\n\n" + bullets(rng) + "\n\n" + markup(rng),
        lambda: prose(rng, 2) + "\n\n" + rng.choice(["P.S. ", "P.P.S ", "p.s. ", "PS ", "P. S. "]) + rng.choice(PROSE),
        lambda: " ".join(rng.choice(ODD) for _ in range(rng.randint(1, 5))).upper(),
    ]
    text = rng.choice(makers)()
    if rng.random() < 0.1:
        text = '"' + text + '"'
    if rng.random() < 0.1:
        text = text.replace(",", "")
    if rng.random() < 0.05:
        text = text.replace("\n", "\r\n")
    if rng.random() < 0.2:
        text = rng.choice(PREFACES) + text
    if rng.random() < 0.2:
        text = text + rng.choice(SUFFIXES)
    return text


def fenced(rng):
    before, after = rng.choice(FENCES)
    return before + rng.choice(JSONS) + after


def near(rng, count):
    return max(1, count + rng.choice([-1, 0, 0, 1, 2]))


def relation(rng):
    return rng.choice(["at least", "less than"])


def instruction(rng, utils, kind, text, prompt):
    """The arguments of an instruction, and the answer changed so that it may follow it."""
    name = kind.split(":")[1]
    chance = rng.random()
    if name in ("existence", "forbidden_words") and chance > 0.98:
        return {"keywords" if name == "existence" else "forbidden_words": [rng.choice(BROKEN)]}, text
    if name == "existence":
        return {"keywords": rng.sample(KEYWORDS, rng.randint(1, 3)) if chance < 0.5 else rng.sample(re.findall(r"\w+", text) or ["x"], 1)}, text
    if name == "frequency":
        keyword = rng.choice(KEYWORDS)
        count = len(re.findall(re.escape(keyword), text, re.IGNORECASE))
        return {"keyword": keyword, "frequency": near(rng, count), "relation": relation(rng)}, text
    if name == "forbidden_words":
        return {"forbidden_words": rng.sample(KEYWORDS, rng.randint(1, 3))}, text
    if name == "letter_frequency":
        letter = rng.choice(LETTERS[:12]) if chance < 0.97 else "K"
        return {"letter": letter, "let_frequency": near(rng, text.lower().count(letter.lower())), "let_relation": relation(rng)}, text
    if name == "response_language":
        if chance < 0.6:
            text = rng.choice(FOREIGN)
        import langdetect
        try:
            found = langdetect.detect(text)
        except langdetect.LangDetectException:
            found = "en"
        return {"language": found if rng.random() < 0.6 else rng.choice(CODES)}, text
    if name == "number_sentences":
        if chance < 0.6:
            text = prose(rng, 5)
        count = utils.instructions_registry.instructions.instructions_util.count_sentences(text)
        return {"num_sentences": near(rng, count), "relation": relation(rng)}, text
    if name == "number_paragraphs":
        if chance < 0.7:
            text = paragraphs(rng)
        return {"num_paragraphs": near(rng, len(re.split(r"\s?\*\*\*\s?", text)))}, text
    if name == "number_words":
        return {"num_words": near(rng, len(re.findall(r"\w+", text))), "relation": relation(rng)}, text
    if name == "nth_paragraph_first_word":
        if chance < 0.8:
            text = paragraphs(rng)
        parts = [p for p in text.split("\n\n") if p.strip()]
        count = near(rng, len(parts)) if rng.random() < 0.4 else max(1, len(parts))
        nth = rng.randint(1, count)
        words = [w for p in parts[nth - 1:nth] for w in re.findall(r"[^\W_]+", p)]
        return {"num_paragraphs": count, "nth_paragraph": nth, "first_word": (words or ["the"])[0] if rng.random() < 0.8 else rng.choice(KEYWORDS[:8])}, text
    if name == "number_placeholders":
        if chance < 0.5:
            text += " " + " ".join(rng.choice(["[name]", "[]", "[a b]", "[x", "y]", "[[z]]"]) for _ in range(rng.randint(1, 5)))
        return {"num_placeholders": near(rng, len(re.findall(r"\[.*?\]", text)))}, text
    if name == "postscript":
        if chance < 0.5:
            text += rng.choice(["\n", "\n\n", " "]) + rng.choice(["P.S.", "P.P.S", "P.P.S.", "p. s.", "p.p. s", "PS", "P.S", "PPS."]) + " " + rng.choice(PROSE)
        return {"postscript_marker": rng.choice(["P.S.", "P.P.S", "P.S.", "P.P.S", "PS", "P.P.S.", "Note:", " P.S. "])}, text
    if name == "number_bullet_lists":
        if chance < 0.7:
            text = bullets(rng)
        count = len(re.findall(r"^\s*\*[^\*].*$", text, re.M)) + len(re.findall(r"^\s*-.*$", text, re.M))
        return {"num_bullets": near(rng, count)}, text
    if name == "constrained_response":
        if chance < 0.5:
            text = rng.choice(["My answer is yes.", "My answer is no.", "My answer is maybe.", "My answer is yes", "My answer is *no*.", "**My answer is maybe.**",
                               "my answer is no.", "Well. My answer is\nno.", "My answer is perhaps."])
        return {}, text
    if name == "number_highlighted_sections":
        if chance < 0.6:
            text = markup(rng)
        return {"num_highlights": near(rng, len(re.findall(r"\*[^\n\*]*\*", text)))}, text
    if name == "multiple_sections":
        if chance < 0.7:
            text = sections(rng)
        splitter = rng.choice(["SECTION", "Section", "PARAGRAPH", "Day", "Audience", " Day ", "Section|Day", "(Day)"])
        return {"section_spliter": splitter, "num_sections": near(rng, len(re.findall(splitter.strip(), text)))}, text
    if name == "json_format":
        return {}, fenced(rng) if chance < 0.8 else text
    if name == "title":
        return {}, text + rng.choice(["\n", " "]) + rng.choice([o for o in ODD if "<" in o]) if chance < 0.6 else text
    if name == "two_responses":
        if chance < 0.7:
            parts = [rng.choice(PROSE[:4] + ["", " \n"]) for _ in range(rng.randint(2, 3))]
            text = rng.choice(["******", "\n******\n", " ****** ", "*******", "***** *"]).join(parts)
        return {}, text
    if name == "repeat_prompt":
        repeat = rng.choice([prompt, prompt.upper(), " " + prompt + "\n", prompt[:20]])
        if chance < 0.7:
            text = rng.choice([prompt, prompt.lower(), "  " + prompt, "**" + prompt + "**", "Sure!\n" + prompt, prompt[:-1], prompt.replace(" ", "  ", 1)]) + "\n" + text
        return {"prompt_to_repeat": repeat}, text
    if name == "end_checker":
        phrase = rng.choice(PHRASES)
        if chance < 0.7:
            text += rng.choice([" ", "\n", ""]) + rng.choice([phrase, phrase.upper(), phrase + '"', phrase + "\n", phrase + "*", "*" + phrase + "*", phrase[:-1], phrase + ".", phrase + '" '])
        return {"end_phrase": phrase}, text
    if name == "quotation":
        if chance < 0.6:
            text = rng.choice(['"{}"', ' "{}"\n', '"{}', '{}"', "“{}”", "'{}'", '*"{}"*', 'Here:\n"{}"', '"{}"\nBye']).format(text)
        elif chance < 0.65:
            text = rng.choice(['"', '""', ' " ', '"\n"'])
        return {}, text
    if name == "capital_word_frequency":
        if chance < 0.6:
            text = recase(rng, prose(rng, 4))
        import nltk
        count = sum(w.isupper() for w in nltk.word_tokenize(text))
        return {"capital_frequency": near(rng, count), "capital_relation": relation(rng)}, text
    if name == "english_capital":
        return {}, text.upper() if chance < 0.7 else text
    if name == "english_lowercase":
        return {}, text.lower() if chance < 0.7 else text
    assert name == "no_comma", name
    return {}, text.replace(",", "") if chance < 0.4 else text


def row(rng, utils):
    """One row as `exactod score --scorer ifeval` takes it."""
    kinds = sorted(utils.instructions_registry.INSTRUCTION_DICT)
    prompt = rng.choice(["Write a note about ", "Tell me a story of ", "Explain, in your own words, ", "Décris "]) + rng.choice(PROSE)
    chosen = rng.sample(kinds, rng.choice([1, 1, 1, 2, 2, 3]))
    text, kwargs = body(rng), []
    for kind in chosen:
        given, text = instruction(rng, utils, kind, text, prompt)
        if rng.random() < 0.3:
            given = {**{key: None for key in ALL_KEYS}, **given}
        kwargs.append(given)
    if rng.random() < 0.1:
        text = rng.choice(PREFACES) + text
    if rng.random() < 0.1:
        text = text + rng.choice(SUFFIXES)
    # Lone surrogates cannot travel as UTF-8.
    text = json.loads(json.dumps(text)).encode("utf-8", "ignore").decode("utf-8")
    return {"prompt": prompt, "instruction_id_list": chosen, "kwargs": kwargs, "response": text}
