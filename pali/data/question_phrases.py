# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""How questions about scenes are put in the 36 languages of Crossmodal-3600.

Written for this project and not checked by native speakers. Each phrase keeps the names of things
apart, after a colon, so that none needs an article, a case or a plural: "How many: dog?". Question
marks are those of the script; Thai has none.
"""

from __future__ import annotations

# language|count|presence|colour|direction|corner; {a} and {b} are names of things.
_TABLE = """
ar|كم العدد: {a}؟|هل يوجد في الصورة: {a}؟|ما لون الخلفية؟|أين يقع الأول بالنسبة إلى الثاني: {a}، {b}؟|في أي زاوية: {a}؟
bn|কয়টি: {a}?|ছবিতে কি আছে: {a}?|পটভূমির রং কী?|দ্বিতীয়টির তুলনায় প্রথমটি কোথায়: {a}, {b}?|কোন কোণে: {a}?
cs|Kolik: {a}?|Je na obrázku: {a}?|Jakou barvu má pozadí?|Kde je první vzhledem k druhému: {a}, {b}?|Ve kterém rohu: {a}?
da|Hvor mange: {a}?|Er på billedet: {a}?|Hvilken farve har baggrunden?|Hvor er det første i forhold til det andet: {a}, {b}?|I hvilket hjørne: {a}?
de|Wie viele: {a}?|Ist im Bild: {a}?|Welche Farbe hat der Hintergrund?|Wo liegt das Erste vom Zweiten aus: {a}, {b}?|In welcher Ecke: {a}?
el|Πόσα: {a};|Υπάρχει στην εικόνα: {a};|Τι χρώμα έχει το φόντο;|Πού είναι το πρώτο σε σχέση με το δεύτερο: {a}, {b};|Σε ποια γωνία: {a};
en|How many: {a}?|Is in the picture: {a}?|What color is the background?|Where is the first, seen from the second: {a}, {b}?|In which corner: {a}?
es|¿Cuántos hay: {a}?|¿Está en la imagen: {a}?|¿De qué color es el fondo?|¿Dónde está lo primero respecto a lo segundo: {a}, {b}?|¿En qué esquina: {a}?
fa|چند تا: {a}؟|آیا در تصویر هست: {a}؟|رنگ پس‌زمینه چیست؟|اولی نسبت به دومی کجاست: {a}، {b}؟|در کدام گوشه: {a}؟
fi|Kuinka monta: {a}?|Onko kuvassa: {a}?|Minkä värinen tausta on?|Missä ensimmäinen on toiseen nähden: {a}, {b}?|Missä kulmassa: {a}?
fil|Ilan: {a}?|Nasa larawan ba: {a}?|Ano ang kulay ng background?|Nasaan ang una kumpara sa ikalawa: {a}, {b}?|Sa aling sulok: {a}?
fr|Combien : {a} ?|Y a-t-il dans l’image : {a} ?|De quelle couleur est le fond ?|Où est le premier par rapport au second : {a}, {b} ?|Dans quel coin : {a} ?
he|כמה: {a}?|האם יש בתמונה: {a}?|מה צבע הרקע?|איפה הראשון ביחס לשני: {a}, {b}?|באיזו פינה: {a}?
hi|कितने: {a}?|क्या तस्वीर में है: {a}?|पृष्ठभूमि का रंग क्या है?|दूसरे के मुकाबले पहला कहाँ है: {a}, {b}?|किस कोने में: {a}?
hr|Koliko: {a}?|Je li na slici: {a}?|Koje je boje pozadina?|Gdje je prvo u odnosu na drugo: {a}, {b}?|U kojem kutu: {a}?
hu|Hány darab: {a}?|Van a képen: {a}?|Milyen színű a háttér?|Hol van az első a másodikhoz képest: {a}, {b}?|Melyik sarokban: {a}?
id|Ada berapa: {a}?|Apakah ada di gambar: {a}?|Apa warna latar belakangnya?|Di mana yang pertama terhadap yang kedua: {a}, {b}?|Di sudut mana: {a}?
it|Quanti: {a}?|C’è nell’immagine: {a}?|Di che colore è lo sfondo?|Dov’è il primo rispetto al secondo: {a}, {b}?|In quale angolo: {a}?
ja|いくつありますか：{a}？|絵の中にありますか：{a}？|背景は何色ですか？|二つ目から見て一つ目はどこですか：{a}、{b}？|どの隅にありますか：{a}？
ko|몇 개입니까: {a}?|그림에 있습니까: {a}?|배경은 무슨 색입니까?|둘째에서 볼 때 첫째는 어디에 있습니까: {a}, {b}?|어느 구석에 있습니까: {a}?
mi|E hia: {a}?|Kei roto i te whakaahua: {a}?|He aha te tae o te papamuri?|Kei hea te tuatahi i te tuarua: {a}, {b}?|Kei tēhea koki: {a}?
nl|Hoeveel: {a}?|Staat op de afbeelding: {a}?|Welke kleur heeft de achtergrond?|Waar is het eerste ten opzichte van het tweede: {a}, {b}?|In welke hoek: {a}?
no|Hvor mange: {a}?|Er på bildet: {a}?|Hvilken farge har bakgrunnen?|Hvor er det første i forhold til det andre: {a}, {b}?|I hvilket hjørne: {a}?
pl|Ile: {a}?|Czy na obrazku jest: {a}?|Jakiego koloru jest tło?|Gdzie jest pierwsze względem drugiego: {a}, {b}?|W którym rogu: {a}?
pt|Quantos há: {a}?|Está na imagem: {a}?|Qual é a cor do fundo?|Onde está o primeiro em relação ao segundo: {a}, {b}?|Em que canto: {a}?
qu|Haykʼa kan: {a}?|Kaypi kanchu: {a}?|Qhipanpa llimpʼin ima?|Maypi ñawpaq kaq qatiqninmanta: {a}, {b}?|Mayqin kʼuchupi: {a}?
ro|Câte sunt: {a}?|Este în imagine: {a}?|Ce culoare are fundalul?|Unde este primul față de al doilea: {a}, {b}?|În ce colț: {a}?
ru|Сколько: {a}?|Есть ли на картинке: {a}?|Какого цвета фон?|Где первое относительно второго: {a}, {b}?|В каком углу: {a}?
sv|Hur många: {a}?|Finns i bilden: {a}?|Vilken färg har bakgrunden?|Var är det första i förhållande till det andra: {a}, {b}?|I vilket hörn: {a}?
sw|Ngapi: {a}?|Je, ipo kwenye picha: {a}?|Mandharinyuma ni ya rangi gani?|Cha kwanza kiko wapi ukilinganisha na cha pili: {a}, {b}?|Katika kona gani: {a}?
te|ఎన్ని: {a}?|చిత్రంలో ఉందా: {a}?|నేపథ్యం ఏ రంగులో ఉంది?|రెండవదానికి మొదటిది ఎక్కడ ఉంది: {a}, {b}?|ఏ మూలలో: {a}?
th|มีกี่อัน: {a}|ในภาพมีไหม: {a}|พื้นหลังสีอะไร|สิ่งแรกอยู่ตรงไหนเมื่อเทียบกับสิ่งที่สอง: {a}, {b}|อยู่มุมไหน: {a}
tr|Kaç tane: {a}?|Resimde var mı: {a}?|Arka plan ne renk?|Birincisi ikincisine göre nerede: {a}, {b}?|Hangi köşede: {a}?
uk|Скільки: {a}?|Чи є на картинці: {a}?|Якого кольору тло?|Де перше відносно другого: {a}, {b}?|У якому куті: {a}?
vi|Có bao nhiêu: {a}?|Trong hình có không: {a}?|Nền có màu gì?|Cái thứ nhất ở đâu so với cái thứ hai: {a}, {b}?|Ở góc nào: {a}?
zh|有几个：{a}？|图中有没有：{a}？|背景是什么颜色？|第一个在第二个的哪一边：{a}、{b}？|在哪个角落：{a}？
"""  # noqa: E501 - one language a line, in its own letters

KINDS = ("count", "presence", "colour", "direction", "corner")
"""What questions ask for."""

PHRASES: dict[str, dict[str, str]] = {
    language: dict(zip(KINDS, phrases, strict=True))
    for language, *phrases in (line.split("|") for line in _TABLE.split("\n") if line)
}
"""{language: {kind: phrase}}"""

_FLAGS = """
ar|علم أي بلد هذا؟
bn|এটি কোন দেশের পতাকা?
cs|Čí je to vlajka?
da|Hvis flag er det?
de|Wessen Flagge ist das?
el|Ποιας χώρας είναι αυτή η σημαία;
en|Whose flag is this?
es|¿De dónde es esta bandera?
fa|این پرچم کجاست؟
fi|Minkä maan lippu tämä on?
fil|Kaninong bandila ito?
fr|De quel pays est ce drapeau ?
he|של איזו מדינה הדגל הזה?
hi|यह किस देश का झंडा है?
hr|Čija je ovo zastava?
hu|Melyik ország zászlaja ez?
id|Bendera negara mana ini?
it|Di quale paese è questa bandiera?
ja|これはどこの旗ですか？
ko|이것은 어느 나라의 국기입니까?
mi|Nō whea tēnei haki?
nl|Van welk land is deze vlag?
no|Hvilket land har dette flagget?
pl|Czyja to flaga?
pt|De que país é esta bandeira?
qu|Kay unanchaqa mayqin suyumanta?
ro|Al cui este acest steag?
ru|Чей это флаг?
sv|Vilket lands flagga är detta?
sw|Hii ni bendera ya nchi gani?
te|ఇది ఏ దేశపు జెండా?
th|นี่คือธงของประเทศใด
tr|Bu hangi ülkenin bayrağı?
uk|Чий це прапор?
vi|Đây là cờ của nước nào?
zh|这是哪里的旗帜？
"""

FLAG_QUESTIONS: dict[str, str] = {
    language: question
    for language, question in (line.split("|") for line in _FLAGS.split("\n") if line)
}
"""{language: whose flag is this?}"""
