"""Made-up pages of spam and lists in Chinese, Japanese, Thai and Korean: none of them teaches its language.

    python benchmarks/corpus/spam.py GOOD.jsonl

Counts which of them the web rules drop, and how many of the good texts (languages.py) they drop beside. Four sorts, 20
pages each of every language: keywords, lists of links, one advertisement again and again with other figures, and one
sentence with other nouns in it. At last lists of headlines, 12 or 40 of the first lines of good texts (of news), in all
languages: how many of them pass.
"""

# ruff: noqa: E501 (Chinese characters are two columns wide)

from __future__ import annotations

import argparse
import random
from collections import Counter
from pathlib import Path

from languages import Text, is_judged, read

from headwater.corpus.document import Document
from headwater.corpus.quality.filter import rules_step
from headwater.corpus.step import Candidate
from headwater.corpus.words import WordHasher
from headwater.sources.rules import RuleSettings

NOUNS = {
    "zh": "手机 电脑 耳机 键盘 鼠标 相机 手表 皮包 球鞋 外套 雨伞 眼镜 香水 面霜 口红 茶叶 咖啡 红酒 巧克力 饼干 机票 酒店 门票 旅游 租车 贷款 保险 股票 "
    "基金 彩票 游戏 小说 电影 音乐 课程 驾校 装修 家具 沙发 床垫",
    "ja": "携帯 パソコン イヤホン キーボード マウス カメラ 腕時計 鞄 靴 上着 傘 眼鏡 香水 化粧水 口紅 お茶 コーヒー ワイン チョコレート クッキー 航空券 "
    "ホテル 入場券 旅行 レンタカー ローン 保険 株式 投資 宝くじ ゲーム 小説 映画 音楽 講座 教習所 引越し 家具 ソファー 布団",
    "th": "โทรศัพท์ คอมพิวเตอร์ หูฟัง คีย์บอร์ด เมาส์ กล้อง นาฬิกา กระเป๋า รองเท้า เสื้อ ร่ม แว่นตา น้ำหอม ครีม ลิปสติก ชา กาแฟ ไวน์ ช็อกโกแลต "
    "ขนม ตั๋วเครื่องบิน โรงแรม บัตรเข้าชม ท่องเที่ยว รถเช่า เงินกู้ ประกัน หุ้น กองทุน หวย เกม นิยาย หนัง เพลง คอร์ส เฟอร์นิเจอร์ โซฟา ที่นอน "
    "เครื่องครัว ตู้เย็น",
    "th, other words": "ทองคำ ที่ดิน คอนโด บ้านเดี่ยว ประกันรถ สินเชื่อ บัตรเครดิต วิตามิน อาหารเสริม สบู่ ยาสีฟัน ผ้าอ้อม ของเล่น จักรยาน มอเตอร์ไซค์ ยางรถ "
    "แบตเตอรี่ เครื่องกรองน้ำ พัดลม แอร์ ทีวี ลำโพง ไมโครโฟน ปลั๊กไฟ หลอดไฟ สีทาบ้าน กระเบื้อง ประตู หน้าต่าง มุ้งลวด การ์ตูน พระเครื่อง บาคาร่า สล็อต "
    "คาสิโน แทงบอล เลขเด็ด ผ้าม่าน ต้นไม้ ปุ๋ย",
    "th, held out": "กรุงเทพ เชียงใหม่ ภูเก็ต พัทยา หัวหิน สมุย กระบี่ ทัวร์ญี่ปุ่น ทัวร์เกาหลี วีซ่า ล่องเรือ ดำน้ำ สปา นวดแผนไทย ร้านอาหาร บุฟเฟต์ ชาบู "
    "หมูกระทะ ส้มตำ ข้าวมันไก่ ก๋วยเตี๋ยว ทุเรียน มะม่วง ขนมเค้ก คาเฟ่ โรงพยาบาล คลินิก ทันตแพทย์ จัดฟัน ศัลยกรรม เลเซอร์ ลดน้ำหนัก ฟิตเนส โยคะ "
    "เรียนภาษา ติวเตอร์ มหาวิทยาลัย งานพิเศษ รับสร้างบ้าน ขนย้าย",
    "ko": "휴대폰 컴퓨터 이어폰 키보드 마우스 카메라 시계 가방 신발 외투 우산 안경 향수 크림 립스틱 녹차 커피 와인 초콜릿 과자 항공권 호텔 입장권 여행 "
    "렌터카 대출 보험 주식 펀드 복권 게임 소설 영화 음악 강좌 운전학원 이사 가구 소파 침대",
}
ADVERTISEMENTS = {
    "zh": "全场特价{0}元，正品保证，免费送货，立即拨打{1}订购！",
    "ja": "全品{0}円の特別価格、正規品保証、送料無料、今すぐ{1}へお電話ください！",
    "th": "ลดราคาพิเศษเหลือ {0} บาท ของแท้ ส่งฟรี โทรสั่งซื้อเลยที่ {1}",
    "th, other words": "สมัครวันนี้รับโบนัส {0} เปอร์เซ็นต์ ฝากถอนไม่มีขั้นต่ำ แอดไลน์ {1} ได้ตลอด 24 ชั่วโมง",
    "th, held out": "โปรโมชั่นเดือนนี้ ลดเหลือ {0} บาทเท่านั้น จองเลย โทร {1} มีเจ้าหน้าที่ตอบทุกวัน",
    "ko": "전 품목 {0}원 특가, 정품 보장, 무료 배송, 지금 바로 {1}번으로 전화하세요!",
}
SENTENCES = {
    "zh": "如果您正在寻找最便宜的{0}，我们的网站为您提供最好的{0}价格和最快的{0}送货服务。",
    "ja": "最も安い{0}をお探しなら、当サイトでは最高の{0}価格と最速の{0}配送サービスをご提供しています。",
    "th": "หากคุณกำลังมองหา{0}ที่ถูกที่สุด เว็บไซต์ของเรามี{0}ราคาดีที่สุดและบริการส่ง{0}ที่เร็วที่สุดให้กับคุณ",
    "th, other words": "{0}ราคาถูก ซื้อ{0}ออนไลน์ จำหน่าย{0}ทั้งปลีกและส่ง ร้านของเราเป็นผู้นำด้าน{0}และรับประกันความพอใจ",
    "th, held out": "รีวิว{0}ยอดนิยม รวม{0}แนะนำ เปรียบเทียบ{0}ที่คุ้มค่าที่สุดในปีนี้ พร้อมส่วนลดพิเศษสำหรับสมาชิก",
    "ko": "가장 저렴한 {0}을 찾고 계신다면 저희 사이트에서 최고의 {0} 가격과 가장 빠른 {0} 배송 서비스를 제공해 드립니다.",
}
SEPARATORS = {"zh": "，", "ja": "、", "th": " ", "th, other words": " | ", "th, held out": ", ", "ko": ", "}


def pages(language: str, count: int) -> list[tuple[str, str]]:
    """Return pages with their sorts: `count` of each."""
    dice = random.Random(language)
    nouns = NOUNS[language].split()
    made = []
    for _ in range(count):
        made.append(("keywords", SEPARATORS[language].join(dice.choices(nouns, k=dice.randint(150, 300)))))
        links = (" ".join(dice.choices(nouns, k=dice.randint(1, 3))) for _ in range(dice.randint(60, 120)))
        made.append(("links", "\n".join(links)))
        figures = ((dice.randint(10, 999), dice.randint(10**7, 10**8)) for _ in range(dice.randint(12, 30)))
        made.append(("advertisement", "\n".join(ADVERTISEMENTS[language].format(*each) for each in figures)))
        chosen = dice.sample(nouns, k=dice.randint(8, 20))
        made.append(("one sentence", "\n".join(SENTENCES[language].format(noun) for noun in chosen)))
    return made


def headlines(texts: list[Text], count: int) -> list[str]:
    """Return lists of 12 or 40 headlines; none where a language has too few texts of news."""
    dice = random.Random(0)
    found = [text["text"].split("\n")[0] for text in texts if text["source"] == "ntrex"]
    sizes = [12, 40] * count if len(found) >= 40 else []
    return ["\n".join(dice.sample(found, size)) for size in sizes]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("good", type=Path)
    good = read(parser.parse_args().good)
    step, hasher = rules_step(RuleSettings()), WordHasher()

    def reason(text: str) -> str | None:
        return step(Candidate(Document(text, "pages", "1", "page", "web", {}), hasher)).reason

    for language in NOUNS:
        made = pages(language, 20)
        found = Counter(sort for sort, text in made if reason(text))
        judged = [text["text"] for text in good[language.partition(",")[0]] if is_judged(text)]
        wrong = sum(reason(text) is not None for text in judged)
        right = found.total()
        print(
            f"{language}: recall {right / len(made):.3f}, precision {right / max(right + wrong, 1):.3f}, "
            f"{wrong} of {len(judged)} good ones, " + ", ".join(f"{sort} {found[sort]} of 20" for sort in dict(made))
        )
    lists = [each for texts in good.values() for each in headlines(texts, 10)]
    print(f"lists of headlines: {sum(reason(each) is None for each in lists)} of {len(lists)} pass")


if __name__ == "__main__":
    main()
