"""Evaluation sets in the formats of C-Eval, CMMLU, JCommonsenseQA and KoBEST, made of facts that any encyclopaedia has.

`python option_formats.py NEWS.jsonl`: documents in zh, ja and ko (a line each: language, id, text), half of them with
two paragraphs of facts set into them, which name the items' countries, capitals and currencies. None of those may be
dropped or cut. Into the other half one item is planted, in one of four forms. No form is one of option_leaks.py's.
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

COUNTRIES = {  # country, capital, currency
    "zh": "法国 巴黎 欧元|日本 东京 日元|泰国 曼谷 泰铢|埃及 开罗 埃及镑|挪威 奥斯陆 挪威克朗|秘鲁 利马 索尔|肯尼亚 内罗毕 肯尼亚先令|蒙古 乌兰巴托 图格里克|越南 河内 越南盾|匈牙利 布达佩斯 福林|波兰 华沙 兹罗提|智利 圣地亚哥 智利比索|印度 新德里 卢比|土耳其 安卡拉 里拉|冰岛 雷克雅未克 冰岛克朗|捷克 布拉格 捷克克朗|古巴 哈瓦那 古巴比索|伊朗 德黑兰 里亚尔|尼泊尔 加德满都 尼泊尔卢比|摩洛哥 拉巴特 迪拉姆",
    "ja": "フランス パリ ユーロ|中国 北京 人民元|タイ バンコク バーツ|エジプト カイロ エジプトポンド|ノルウェー オスロ ノルウェークローネ|ペルー リマ ソル|ケニア ナイロビ ケニアシリング|モンゴル ウランバートル トゥグルグ|ベトナム ハノイ ドン|ハンガリー ブダペスト フォリント|ポーランド ワルシャワ ズウォティ|チリ サンティアゴ チリペソ|インド ニューデリー ルピー|トルコ アンカラ トルコリラ|アイスランド レイキャビク アイスランドクローナ|チェコ プラハ チェココルナ|キューバ ハバナ キューバペソ|イラン テヘラン リアル|ネパール カトマンズ ネパールルピー|モロッコ ラバト ディルハム",
    "ko": "프랑스 파리 유로|일본 도쿄 엔|태국 방콕 밧|이집트 카이로 이집트파운드|노르웨이 오슬로 크로네|페루 리마 솔|케냐 나이로비 케냐실링|몽골 울란바토르 투그릭|베트남 하노이 동|헝가리 부다페스트 포린트|폴란드 바르샤바 즈워티|칠레 산티아고 칠레페소|인도 뉴델리 루피|튀르키예 앙카라 리라|아이슬란드 레이캬비크 크로나|체코 프라하 코루나|쿠바 아바나 쿠바페소|이란 테헤란 리알|네팔 카트만두 네팔루피|모로코 라바트 디르함",
}
QUESTIONS = {
    "zh": ["{0}的首都是下列哪一座城市？", "下列城市中，作为{0}首都的是____。", "在世界各国的首都之中，{0}的首都应当是"],
    "ja": [
        "{0}の首都はどこですか？",
        "次の都市のうち、{0}の首都として正しいものはどれ？",
        "{0}で最も重要な政治の中心となる首都は？",
    ],
    "ko": [
        "{0}의 수도는 다음 중 어느 도시입니까?",
        "다음 도시 가운데 {0}의 수도로 알맞은 것을 고르십시오.",
        "{0} 정부가 자리 잡은 수도의 이름은 무엇인가?",
    ],
}
PROSE = {
    "zh": "{0}的首都是{1}，使用的货币是{2}。{1}是{0}最大的城市之一，也是该国的政治和文化中心。",
    "ja": "{0}の首都は{1}であり、通貨は{2}である。{1}は{0}で最も大きな都市の一つで、政治と文化の中心となっている。",
    "ko": "{0}의 수도는 {1}이며 화폐는 {2}이다. {1}은 {0}에서 가장 큰 도시 가운데 하나로 정치와 문화의 중심지이다.",
}
PREMISES = {
    "ko": "{0} 사람들은 해마다 {1}에서 열리는 축제를 {2} 지폐로 준비한다. 그래서 상인들이 바빠졌다.",
}


def rows_of(language: str) -> list[list[str]]:
    return [row.split() for row in COUNTRIES[language].split("|")]


def items_of(rng: random.Random, language: str) -> list[tuple[str, dict[str, Any], list[str]]]:
    """Return (format, record, what a copy of it has: the question, its options, the right one)."""
    rows, items = rows_of(language), []
    for number in range(60):
        row = rows[number % len(rows)]
        question = QUESTIONS[language][number // len(rows)].format(*row)
        options = [row[1], *rng.sample([other[1] for other in rows if other != row], 4 if language == "ja" else 3)]
        rng.shuffle(options)
        right = options.index(row[1])
        if language == "zh" and number % 2:
            record = {
                "id": number,
                "question": question,
                **dict(zip("ABCD", options)),
                "answer": "ABCD"[right],
                "explanation": "",
            }
            items.append(("C-Eval", record, [question, *options, row[1]]))
        elif language == "zh":
            record = {"Question": question, **dict(zip("ABCD", options)), "Answer": "ABCD"[right]}
            items.append(("CMMLU", record, [question, *options, row[1]]))
        elif language == "ja":
            record = {
                "q_id": number,
                "question": question,
                **{f"choice{n}": each for n, each in enumerate(options)},
                "label": right,
            }
            items.append(("JCommonsenseQA", record, [question, *options, row[1]]))
        elif number % 2:
            premise, ends = (
                PREMISES["ko"].format(*row),
                [f"{row[1]} 시장에 손님이 몰려들었다.", f"{options[0]} 공항이 하루 동안 문을 닫았다."],
            )
            record = {
                "premise": premise,
                "question": "결과",
                "alternative_1": ends[0],
                "alternative_2": ends[1],
                "label": 0,
            }
            items.append(("KoBEST COPA", record, [premise, *ends, ends[0]]))
        else:
            record = {"context": question, **{f"ending_{n}": each for n, each in enumerate(options, 1)}, "label": right}
            items.append(("KoBEST HellaSwag", record, [question, *options, row[1]]))
    return items


def copy_of(rng: random.Random, parts: list[str]) -> tuple[str, str]:
    question, *options, right = parts
    forms = {
        "numbered": "\n".join([question, *(f"{n}) {each}" for n, each in enumerate(options, 1))]),
        "commas": f"{question}（{'、'.join(options)}）",
        "table": " | ".join([question, *options, right]),
        "answer on the next line": f"Q: {question}\nA: {right}",
    }
    form = rng.choice(list(forms))
    return form, forms[form]


def main(path: str) -> None:
    lines = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]
    for language in COUNTRIES:
        rng = random.Random(language)
        texts = [line["text"] for line in lines if line["language"] == language]
        rng.shuffle(texts)
        rows, items = rows_of(language), items_of(rng, language)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "set.jsonl"
            file.write_text(
                "".join(json.dumps(record, ensure_ascii=False) + "\n" for _, record, _ in items), encoding="utf-8"
            )
            step = Decontaminator(DecontaminateSettings(sets={"quiz": [str(file)]}))
        wrong = 0
        innocents = [texts[n % len(texts)] for n in range(100)]
        for text in innocents:
            facts = [PROSE[language].format(*row) for row in rng.sample(rows, 6)]
            verdict = judge(step, "\n\n".join([text[:400], "".join(facts[:3]), "".join(facts[3:]), text[400:]]))
            wrong += verdict.reason is not None or bool(verdict.cuts)
        total, found = Counter[str](), Counter[str]()
        for number, text in enumerate(texts[-34:]):
            name, _, parts = items[number * 7 % len(items)]
            form, copy = copy_of(rng, parts)
            verdict = judge(step, f"{text[:300]}\n{copy}\n{text[300:]}")
            for group in (name, form):
                total[group] += 1
                found[group] += verdict.reason is not None or bool(verdict.cuts)
        share = sum(found.values()) / sum(total.values())
        print(
            f"{language}: {wrong} of {len(innocents)} innocent documents dropped or cut; {share:.3f} of {sum(total.values()) // 2} leaks found"
        )
        print("   " + ", ".join(f"{group} {found[group]} of {total[group]}" for group in sorted(total)))


if __name__ == "__main__":
    main(sys.argv[1])
