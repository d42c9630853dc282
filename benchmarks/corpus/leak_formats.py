"""Evaluation sets in eleven layouts of records, leaked in sixteen forms, in five languages: what is found, what is lost.

`python leak_formats.py NEWS.jsonl`: documents in en, zh, ja, ar and hi (a line each: language, source, id, text), of
which those of source "news" are taken. 60 a language are innocent: three statements that an encyclopaedia has of what
the items ask are set into them, a list that has all of an item's options, and the beginning of its question. Into
others one copy of an item is planted. The layouts are those of MMLU, ARC, SciQ, TriviaQA, ArabicMMLU, OpenBookQA,
WinoGrande and three made up.
"""

# ruff: noqa: E501 (Chinese characters are two columns wide)

from __future__ import annotations

import json
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from option_leaks import judge

from headwater.corpus.protect.decontaminate import Decontaminator
from headwater.sources.settings import DecontaminateSettings

# question | the right option | three wrong ones | a statement
QUESTIONS = {
    "en": """Which gas do plants mainly take in from the air during photosynthesis?|carbon dioxide|oxygen|nitrogen|hydrogen|Plants take in carbon dioxide from the air for photosynthesis and give off oxygen; nitrogen and hydrogen play no such part.
Who wrote the tragedy about the Danish prince Hamlet?|William Shakespeare|Christopher Marlowe|Ben Jonson|John Milton|William Shakespeare wrote Hamlet, the tragedy of a Danish prince, around 1600, when Ben Jonson was not yet thirty.
What is the largest planet of the solar system by mass?|Jupiter|Saturn|Neptune|Earth|Jupiter has more mass than all other planets of the solar system together, Saturn and Neptune among them.
In which organ of the human body is insulin produced?|the pancreas|the liver|the kidneys|the spleen|Insulin is produced in the pancreas, an organ of the human body that lies behind the stomach.
Which river flows through the cities of Vienna, Bratislava, Budapest and Belgrade?|the Danube|the Rhine|the Elbe|the Vistula|The Danube flows through Vienna, Bratislava, Budapest and Belgrade on its way to the Black Sea.
At what temperature in degrees Celsius does water boil at sea level?|100|90|112|80|Water boils at 100 degrees Celsius at sea level, and at a lower temperature in the mountains.
Which metal is liquid at room temperature and was long used in thermometers?|mercury|tin|lead|zinc|Mercury, a metal that is liquid at room temperature, was used in thermometers for three hundred years.
How many sides does a regular hexagon have?|six|five|seven|eight|A regular hexagon has six sides, and the bees build their combs in this form.
Which scientist formulated the three laws of planetary motion in the seventeenth century?|Johannes Kepler|Galileo Galilei|Isaac Newton|Tycho Brahe|Johannes Kepler formulated his three laws of planetary motion from the observations of Tycho Brahe.
What do we call the process by which water vapour turns into liquid water?|condensation|evaporation|sublimation|filtration|When water vapour turns into liquid water the process is called condensation, the opposite of evaporation.""",
    "zh": """植物在光合作用过程中主要从空气中吸收哪一种气体？|二氧化碳|氧气|氮气|氢气|植物通过光合作用吸收空气中的二氧化碳并放出氧气，而氮气和氢气并不参与。
以丹麦王子哈姆雷特为主角的悲剧是谁创作的？|莎士比亚|马洛|琼森|弥尔顿|莎士比亚大约在一六〇〇年创作了悲剧《哈姆雷特》，主角是一位丹麦王子。
太阳系中质量最大的行星是哪一颗？|木星|土星|海王星|地球|木星的质量超过太阳系其他行星质量的总和，土星和海王星都不能相比。
人体内的胰岛素是由哪个器官分泌的？|胰腺|肝脏|肾脏|脾脏|胰腺位于胃的后方，人体的胰岛素就是由它分泌的。
流经维也纳、布达佩斯和贝尔格莱德的河流叫什么名字？|多瑙河|莱茵河|易北河|维斯瓦河|多瑙河流经维也纳、布达佩斯和贝尔格莱德，最后注入黑海。
在海平面的标准大气压下，水的沸点是多少摄氏度？|100|90|112|80|水在标准大气压下的沸点是100摄氏度，在高山上则要低一些。
哪一种金属在室温下呈液态并曾长期用于温度计？|水银|锡|铅|锌|水银是室温下呈液态的金属，三百年来一直用于制造温度计。
一个正六边形的内角和等于多少度？|720度|540度|900度|360度|正六边形的内角和是720度，蜜蜂就用这种形状筑巢。
十七世纪提出行星运动三大定律的科学家是哪一位？|开普勒|伽利略|牛顿|第谷|开普勒根据第谷的观测资料，在十七世纪提出了行星运动三大定律。
水蒸气变成液态水的过程在物理学中叫做什么？|凝结|蒸发|升华|过滤|水蒸气变成液态水的过程叫做凝结，与蒸发正好相反。""",
    "ja": """植物が光合成のときに空気中から主に取り入れる気体は何か。|二酸化炭素|酸素|窒素|水素|植物は光合成によって空気中の二酸化炭素を取り入れ、酸素を出すが、窒素や水素は関わらない。
デンマークの王子ハムレットを主人公とする悲劇を書いたのは誰か。|シェイクスピア|マーロウ|ジョンソン|ミルトン|シェイクスピアは一六〇〇年ごろに、デンマークの王子を描いた悲劇ハムレットを書いた。
太陽系の惑星の中で質量が最も大きいものはどれか。|木星|土星|海王星|地球|木星の質量は太陽系のほかの惑星をすべて合わせたよりも大きく、土星や海王星も及ばない。
人体の中でインスリンを分泌している臓器はどれですか。|膵臓|肝臓|腎臓|脾臓|胃の後ろにある膵臓は、血糖を下げるインスリンを分泌している。
ウィーン、ブダペスト、ベオグラードを流れている川の名前は何ですか。|ドナウ川|ライン川|エルベ川|ヴィスワ川|ドナウ川はウィーン、ブダペスト、ベオグラードを通って黒海に注いでいる。
海面における一気圧のもとで水は摂氏何度で沸騰するか。|100度|90度|112度|80度|水は一気圧のもとで摂氏100度で沸騰し、高い山ではもっと低い温度で沸騰する。
常温で液体であり、長い間温度計に使われてきた金属はどれか。|水銀|錫|鉛|亜鉛|水銀は常温で液体の金属であり、三百年のあいだ温度計に使われてきた。
正六角形の内角の和は何度になるか答えなさい。|720度|540度|900度|360度|正六角形の内角の和は720度で、蜂はこの形で巣を作っている。
十七世紀に惑星の運動に関する三つの法則を発表した科学者は誰か。|ケプラー|ガリレオ|ニュートン|ティコ|ケプラーはティコの観測をもとに、惑星の運動に関する三つの法則を発表した。
水蒸気が液体の水に変わる現象のことを何と呼びますか。|凝結|蒸発|昇華|濾過|水蒸気が水に変わることを凝結と呼び、これは蒸発の反対である。""",
    "ar": """ما هو الغاز الذي تمتصه النباتات من الهواء أثناء عملية التمثيل الضوئي؟|ثاني أكسيد الكربون|الأكسجين|النيتروجين|الهيدروجين|تمتص النباتات ثاني أكسيد الكربون من الهواء في عملية التمثيل الضوئي وتطلق الأكسجين، ولا دور فيها للنيتروجين.
من هو الكاتب الذي ألف مأساة هاملت أمير الدنمارك؟|وليم شكسبير|كريستوفر مارلو|بن جونسون|جون ميلتون|ألف وليم شكسبير مأساة هاملت نحو عام 1600، وهي تحكي قصة أمير من الدنمارك.
ما هو أكبر كواكب المجموعة الشمسية من حيث الكتلة؟|المشتري|زحل|نبتون|الأرض|تزيد كتلة المشتري على كتلة سائر كواكب المجموعة الشمسية مجتمعة، ومنها زحل ونبتون.
في أي عضو من أعضاء جسم الإنسان يفرز هرمون الأنسولين؟|البنكرياس|الكبد|الكلية|الطحال|يفرز البنكرياس، وهو عضو يقع خلف المعدة في جسم الإنسان، هرمون الأنسولين.
ما اسم النهر الذي يمر بمدن فيينا وبودابست وبلغراد؟|الدانوب|الراين|الإلبه|فيستولا|يمر نهر الدانوب بمدن فيينا وبودابست وبلغراد قبل أن يصب في البحر الأسود.
عند أي درجة حرارة مئوية يغلي الماء عند مستوى سطح البحر؟|100|90|112|80|يغلي الماء عند 100 درجة مئوية عند مستوى سطح البحر، وعند درجة أقل في الجبال.
ما هو المعدن السائل في درجة حرارة الغرفة والمستخدم قديما في موازين الحرارة؟|الزئبق|القصدير|الرصاص|الزنك|الزئبق معدن سائل في درجة حرارة الغرفة استخدم في موازين الحرارة ثلاثة قرون.
كم عدد أضلاع الشكل السداسي المنتظم في علم الهندسة؟|ستة|خمسة|سبعة|ثمانية|للشكل السداسي المنتظم ستة أضلاع، وعلى هذا الشكل تبني النحل خلاياها.
من هو العالم الذي صاغ القوانين الثلاثة لحركة الكواكب في القرن السابع عشر؟|يوهانس كبلر|غاليليو غاليلي|إسحاق نيوتن|تيخو براهي|صاغ يوهانس كبلر قوانين حركة الكواكب الثلاثة اعتمادا على أرصاد تيخو براهي.
ماذا تسمى العملية التي يتحول فيها بخار الماء إلى ماء سائل؟|التكاثف|التبخر|التسامي|الترشيح|يسمى تحول بخار الماء إلى ماء سائل التكاثف، وهو عكس التبخر.""",
    "hi": """प्रकाश संश्लेषण के दौरान पौधे हवा से मुख्य रूप से कौन सी गैस लेते हैं?|कार्बन डाइऑक्साइड|ऑक्सीजन|नाइट्रोजन|हाइड्रोजन|पौधे प्रकाश संश्लेषण के लिए हवा से कार्बन डाइऑक्साइड लेते हैं और ऑक्सीजन छोड़ते हैं, नाइट्रोजन नहीं।
डेनमार्क के राजकुमार हैमलेट के बारे में त्रासदी किसने लिखी थी?|विलियम शेक्सपियर|क्रिस्टोफर मार्लो|बेन जॉनसन|जॉन मिल्टन|विलियम शेक्सपियर ने लगभग 1600 में डेनमार्क के एक राजकुमार की त्रासदी हैमलेट लिखी।
द्रव्यमान के आधार पर सौरमंडल का सबसे बड़ा ग्रह कौन सा है?|बृहस्पति|शनि|वरुण|पृथ्वी|बृहस्पति का द्रव्यमान सौरमंडल के बाकी सभी ग्रहों के कुल द्रव्यमान से अधिक है।
मानव शरीर के किस अंग में इंसुलिन का निर्माण होता है?|अग्न्याशय|यकृत|गुर्दा|तिल्ली|इंसुलिन का निर्माण अग्न्याशय में होता है, जो मानव शरीर में पेट के पीछे होता है।
वियना, बुडापेस्ट और बेलग्रेड शहरों से होकर कौन सी नदी बहती है?|डेन्यूब|राइन|एल्बे|विस्तुला|डेन्यूब नदी वियना, बुडापेस्ट और बेलग्रेड से होकर काला सागर में गिरती है।
समुद्र तल पर पानी कितने डिग्री सेल्सियस तापमान पर उबलता है?|100|90|112|80|पानी समुद्र तल पर 100 डिग्री सेल्सियस पर उबलता है और पहाड़ों पर इससे कम पर।
कौन सी धातु कमरे के तापमान पर तरल होती है और थर्मामीटर में प्रयोग होती थी?|पारा|टिन|सीसा|जस्ता|पारा ऐसी धातु है जो कमरे के तापमान पर तरल होती है, इसलिए थर्मामीटर में काम आती थी।
एक नियमित षट्भुज में कुल कितनी भुजाएँ होती हैं?|छह|पाँच|सात|आठ|नियमित षट्भुज में छह भुजाएँ होती हैं और मधुमक्खियाँ इसी आकार में छत्ता बनाती हैं।
सत्रहवीं शताब्दी में ग्रहों की गति के तीन नियम किस वैज्ञानिक ने दिए थे?|योहानेस केप्लर|गैलीलियो गैलिली|आइज़क न्यूटन|टाइको ब्राहे|योहानेस केप्लर ने टाइको ब्राहे के प्रेक्षणों से ग्रहों की गति के तीन नियम दिए।
जल वाष्प के तरल पानी में बदलने की प्रक्रिया को क्या कहते हैं?|संघनन|वाष्पीकरण|ऊर्ध्वपातन|निस्यंदन|जब जल वाष्प तरल पानी में बदलती है तो इसे संघनन कहते हैं, जो वाष्पीकरण का उल्टा है।""",
}
# a sentence with a gap | what belongs into it | what doesn't
GAPS = {
    "en": """The part of the cell in which most of its energy is released is the {}, which has two membranes.|mitochondrion|nucleus
The wall that had divided the city of Berlin since 1961 fell in the autumn of {} after weeks of protest.|1989|1979
She poured the soup from the pot into the bowl until the {} was full to the brim.|bowl|pot
The farmer could not lift the sack onto the cart alone because the {} was much too heavy for him.|sack|cart""",
    "zh": """细胞中释放大部分能量的结构是{}，它具有两层膜，并且含有自己的遗传物质。|线粒体|细胞核
从一九六一年起分隔柏林的那堵墙，在人们抗议了几个星期之后，于{}年的秋天倒塌了。|一九八九|一九七九
小红把锅里的汤慢慢倒进碗里，一直倒到{}快要满得溢出来了才停下。|碗|锅
农夫一个人无法把那只麻袋搬到车上去，因为{}对他来说实在是太重了。|麻袋|车子""",
    "ja": """細胞の中でエネルギーの大部分を作り出しているのは{}であり、二重の膜に包まれている。|ミトコンドリア|細胞核
一九六一年からベルリンを分断していた壁は、数週間の抗議のあと、{}年の秋についに崩壊した。|一九八九|一九七九
彼女は鍋のスープをお椀に注ぎ続けたので、とうとう{}がいっぱいになってしまった。|お椀|鍋
農夫は一人で袋を荷車に載せることができなかった。なぜなら{}があまりにも重かったからだ。|袋|荷車""",
    "ar": """الجزء الذي تنطلق فيه معظم طاقة الخلية هو {} الذي يحيط به غشاءان ويحمل مادة وراثية خاصة به.|الميتوكوندريا|النواة
سقط الجدار الذي كان يقسم مدينة برلين منذ عام 1961 في خريف عام {} بعد أسابيع من الاحتجاجات.|1989|1979
صبت الفتاة الحساء من القدر في الوعاء حتى صار {} ممتلئا إلى حافته تماما.|الوعاء|القدر
لم يستطع الفلاح أن يرفع الكيس إلى العربة وحده لأن {} كان ثقيلا جدا عليه.|الكيس|الحمل""",
    "hi": """कोशिका का वह भाग जिसमें उसकी अधिकांश ऊर्जा निकलती है {} है, जिसकी दो झिल्लियाँ होती हैं।|माइटोकॉन्ड्रिया|केंद्रक
1961 से बर्लिन शहर को बाँटने वाली दीवार कई हफ्तों के विरोध के बाद {} की शरद ऋतु में गिर गई।|1989|1979
उसने बर्तन से कटोरे में सूप तब तक डाला जब तक {} किनारे तक पूरा भर नहीं गया।|कटोरा|बर्तन
किसान अकेले बोरी को गाड़ी पर नहीं चढ़ा सका क्योंकि {} उसके लिए बहुत भारी थी।|बोरी|गाड़ी""",
}
HEADINGS = {  # question, options, right answer
    "en": ("Question", "Options", "Correct answer"),
    "zh": ("问题", "选项", "正确答案"),
    "ja": ("問題", "選択肢", "正解"),
    "ar": ("السؤال", "الخيارات", "الإجابة الصحيحة"),
    "hi": ("प्रश्न", "विकल्प", "सही उत्तर"),
}
COMMA = {"zh": "、", "ja": "、", "ar": "، "}


def record_of(number: int, question: str, options: list[str], right: str) -> tuple[str, dict[str, Any]]:
    at = options.index(right)
    wrong = [each for each in options if each != right]
    letters = "ABCD"[: len(options)]
    layouts: list[tuple[str, dict[str, Any]]] = [
        ("MMLU", {"question": question, "subject": "facts", "choices": options, "answer": at}),
        (
            "ARC",
            {
                "id": f"Q_{number}",
                "question": {"stem": question, "choices": [{"text": o, "label": n} for n, o in zip(letters, options)]},
                "answerKey": letters[at],
            },
        ),
        (
            "SciQ",
            {
                "question": question,
                **{f"distractor{n}": o for n, o in enumerate(wrong, 1)},
                "correct_answer": right,
                "support": "",
            },
        ),
        (
            "TriviaQA",
            {
                "question": question,
                "question_id": f"tc_{number}",
                "answer": {"value": right, "aliases": [right.upper(), right], "type": "WikipediaEntity"},
            },
        ),
        (
            "ArabicMMLU",
            {
                "ID": number,
                "Question": question,
                **{f"Option {n}": o for n, o in enumerate(options, 1)},
                "Answer Key": letters[at],
            },
        ),
        (
            "OpenBookQA",
            {"question_stem": question, "choices": {"text": options, "label": list(letters)}, "answerKey": letters[at]},
        ),
        ("options in the answer", {"question": question, "answer": {"choices": options, "correct": at}}),
        (
            "prompt",
            {
                "prompt": "\n".join([question, *(f"{n}. {o}" for n, o in zip(letters, options))]),
                "completion": f" {letters[at]}",
            },
        ),
        ("question and answer", {"instruction": question, "input": "", "output": right}),
    ]
    return layouts[number % len(layouts)]


def copy_of(form: str, question: str, options: list[str], right: str, language: str) -> str:
    head, comma = HEADINGS[language], COMMA.get(language, ", ")
    at = options.index(right)
    match form:
        case "letters with a bracket":
            return "\n".join([question, *(f"{n}) {o}" for n, o in zip("ABCD", options))])
        case "numbers with a stop":
            return "\n".join([question, *(f"{n}. {o}" for n, o in enumerate(options, 1)), f"({at + 1})"])
        case "numbers in the line":
            return f"{question} " + " ".join(f"({n}) {o}" for n, o in enumerate(options, 1))
        case "list in the line":
            return f"{question} {comma.join(options)}"
        case "table":
            cells = [
                " | ".join([head[0], *"ABCD", head[2]]),
                "--- | " * 5 + "---",
                " | ".join([question, *options, right]),
            ]
            return "\n".join(f"| {row} |" for row in cells)
        case "JSON":
            return json.dumps({"question": question, "choices": options, "answer": at}, ensure_ascii=False)
        case "headings":
            lines = [f"{head[0]}: {question}", f"{head[1]}:", *(f"- {o}" for o in options), f"{head[2]}: {right}"]
            return "\n".join(lines)
        case "answer first":
            return f"{head[2]}: {right}\n{head[0]}: {question}"
        case "check boxes":
            return "\n".join([question, *(f"- [{'x' if o == right else ' '}] {o}" for o in options)])
        case "letters in bold, other order":
            return "\n".join([f"**{question}**", *(f"**({n})** {o}" for n, o in zip("abcd", options[::-1]))])
        case "flash card":
            return f"{question}\t{right}"
        case "dump of a quiz":
            return (
                f"Q17. {question} " + " ".join(f"{n}. {o}" for n, o in zip("abcd", options)) + f" Ans: ({'abcd'[at]})"
            )
    raise AssertionError(form)


FORMS = (
    *("letters with a bracket", "numbers with a stop", "numbers in the line", "list in the line", "table", "JSON"),
    *("headings", "answer first", "check boxes", "letters in bold, other order", "flash card", "dump of a quiz"),
)


def gap_copies(sentence: str, right: str, wrong: str) -> dict[str, str]:
    return {
        "gap filled": sentence.format(right),
        "gap filled in brackets": sentence.format(f"[{right}]"),
        "gap with both": sentence.format(f"({right} / {wrong})"),
        "gap kept": f"{sentence.format('______')}\n1. {right}\n2. {wrong}",
    }


def items_of(language: str) -> list[tuple[str, dict[str, Any], dict[str, str]]]:
    """Return layout, record and the copies of each item, by form."""
    rng = random.Random(language)
    items = []
    for number, line in enumerate(QUESTIONS[language].split("\n")):
        question, right, *wrong, _ = line.split("|")
        options = [right, *wrong]
        rng.shuffle(options)
        copies = {form: copy_of(form, question, options, right, language) for form in FORMS}
        items.append((*record_of(number, question, options, right), copies))
    for number, line in enumerate(GAPS[language].split("\n")):
        sentence, right, wrong = line.split("|")
        blank = sentence.format("_" if number % 2 else "____")
        record: dict[str, Any] = {"sentence": blank, "option1": wrong, "option2": right, "answer": "2"}
        if not number % 2:
            record = {"question": blank, "options": [right, wrong], "answer": "A"}
        items.append(("WinoGrande" if number % 2 else "gap", record, gap_copies(sentence, right, wrong)))
    return items


def innocents_of(language: str, texts: list[str]) -> list[str]:
    rng, made = random.Random(f"innocent {language}"), []
    rows = [line.split("|") for line in QUESTIONS[language].split("\n")]
    for number in range(60):
        text = texts[number % len(texts)]
        statements = [row[-1] for row in rng.sample(rows, 3)]
        row = rng.choice(rows)
        options = COMMA.get(language, ", ").join(rng.sample(row[1:5], 4))
        begun = row[0][: len(row[0]) * 2 // 3]
        parts = [text[:300], " ".join(statements), f"{begun} …", text[300:600], options, text[600:]]
        made.append("\n\n".join(part for part in parts if part))
    return made


def main(path: str) -> None:
    lines = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").rstrip("\n").split("\n")]
    all_found, all_total, all_wrong = Counter[str](), Counter[str](), 0
    for language in QUESTIONS:
        texts = [line["text"] for line in lines if line["language"] == language and line["source"] == "news"]
        items = items_of(language)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "set.jsonl"
            written = (json.dumps(record, ensure_ascii=False) + "\n" for _, record, _ in items)
            file.write_text("".join(written), encoding="utf-8")
            step = Decontaminator(DecontaminateSettings(sets={"quiz": [str(file)]}))
        wrong = 0
        for text in innocents_of(language, texts):
            verdict = judge(step, text)
            wrong += verdict.reason is not None or bool(verdict.cuts)
        found, total = Counter[str](), Counter[str]()
        for number, (layout, _, copies) in enumerate(items):
            for place, form in enumerate(copies):
                if (place + number) % 3 and len(copies) > 4:  # a third of the forms of each question, all of a gap's
                    continue
                text = texts[-1 - (number + place) % len(texts)]
                verdict = judge(step, f"{text[:300]}\n{copies[form]}\n{text[300:]}")
                for group in (layout, form, "all"):
                    total[group] += 1
                    found[group] += verdict.reason is not None or bool(verdict.cuts)
        print(
            f"{language}: {found['all']} of {total['all']} leaks found; {wrong} of 60 innocent documents dropped or cut"
        )
        all_found, all_total, all_wrong = all_found + found, all_total + total, all_wrong + wrong
    print(
        f"all: {all_found['all']} of {all_total['all']} ({all_found['all'] / all_total['all']:.3f}); {all_wrong} of 300"
    )
    print("   " + ", ".join(f"{group} {all_found[group]} of {all_total[group]}" for group in sorted(all_total)))


if __name__ == "__main__":
    main(sys.argv[1])
