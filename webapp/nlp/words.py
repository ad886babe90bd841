"""Words that carry grammar in seven languages, for keywords; and how these languages are called."""

from __future__ import annotations

from webapp.core.words import FUNCTION, words

ENGLISH = FUNCTION | words(
    "after again all any because before being below both down each few further here him himself herself itself just me",
    "more most my myself no nor not now off once only other ours out over own same some themselves then through too under",
    "until up us very were while yours yourself am didn doesn don isn wasn won t s re ve ll d m been upon within without",
    "one two three first second many much even every another since still however therefore thus yet cannot must shall",
    "said says say get got make made like well back go goes went come came take took see seen use used using",
)
STOP: dict[str, frozenset[str]] = {
    "en": ENGLISH,
    "de": words(
        "aber alle allem allen aller alles als also am an ander andere anderen anderer anderes auch auf aus bei bin bis bist da",
        "damit dann das dass dein deine dem den denn der des dessen die dies diese diesem diesen dieser dieses doch dort du durch",
        "ein eine einem einen einer eines er es etwas euch euer für gegen gewesen hab habe haben hat hatte hatten hier hin hinter",
        "ich ihm ihn ihnen ihr ihre ihrem ihren ihrer im in indem ins ist jede jedem jeden jeder jedes jetzt kann kein keine",
        "keinem keinen keiner können könnte man manche mehr mein meine mit muss nach nicht nichts noch nun nur ob oder ohne schon",
        "sehr sein seine seinem seinen seiner selbst sich sie sind so solche soll sollte sondern sonst um und uns unser unter viel",
        "vom von vor war waren warum was weg weil weiter welche wenn wer werde werden wie wieder will wir wird wo wurde wurden zu zum",
        "zur zwar zwischen über",
    ),
    "fr": words(
        "a ai alors au aucun aussi autre aux avait avant avec avoir bien c car ce cela ces cet cette ceux chaque comme comment d",
        "dans de depuis des deux dit donc dont du elle elles en encore entre est et étaient était être eu fait font ici il ils j je",
        "jusque l la le les leur leurs lui là m ma mais me même mes moi mon n ne ni nos notre nous on ont ou où par parce pas",
        "peut peu plus pour pourquoi qu quand que quel quelle quelles quels qui s sa sans se sera ses si son sont sous sur t ta te tes",
        "toi ton tous tout toute toutes très tu un une vers voir vos votre vous y à été",
    ),
    "es": words(
        "a al algo algunas algunos ante antes como con contra cual cuando de del desde donde durante e el ella ellas ellos en entre era",
        "eran es esa esas ese eso esos esta estaba están estas este esto estos está fue fueron ha había han has hasta hay la las le les",
        "lo los más me mi mis mucho muchos muy nada ni no nos nosotros o os otra otras otro otros para pero poco por porque que qué",
        "quien se sea según ser si sido sin sobre son su sus también tanto te tiene tienen todo todos tu tus un una uno unos y ya yo él",
    ),
    "it": words(
        "a abbia agli ai al alla alle allo anche ancora avere aveva c che chi ci come con contro cui d da dagli dai dal dalla dalle",
        "degli dei del della delle dello di dove e ed era erano essere fa fra già gli ha hanno ho i il in io l la le lei li lo loro lui ma",
        "me mi mia mio molto ne negli nei nel nella nelle noi non nostro o ogni per perché più poi prima può quale quando quanto quella",
        "quelle quelli quello questa queste questi questo qui se sei senza si sia sono sta stato su sua sue sugli sui sul sulla suo suoi tra",
        "tu tutti tutto un una uno vi voi è",
    ),
    "pt": words(
        "a ainda ao aos as até com como da das de dela dele deles depois do dos e ela elas ele eles em entre era eram essa esse esta",
        "estas este estes está eu foi foram há isso isto já la lhe mais mas me mesmo meu minha muito na nas nem no nos nossa nosso não nós",
        "o onde os ou para pela pelas pelo pelos por porque qual quando que quem se seja sem ser seu seus sua suas são só também te tem",
        "têm tinha todo todos um uma você à às é",
    ),
    "nl": words(
        "aan al alle als altijd andere ben bij daar dan dat de der deze die dit doen door dus een eens en er ge geen geweest haar had heb",
        "hebben heeft hem het hier hij hoe hun iemand iets ik in is ja je kan kon kunnen maar me meer men met mij mijn moet na naar niet",
        "niets nog nu of om omdat onder ons ook op over reeds te tegen toch toen tot u uit uw van veel voor want waren was wat we wel werd",
        "wezen wie wij wil worden wordt zal ze zei zelf zich zij zijn zo zonder zou",
    ),
}
EVERY = frozenset().union(*STOP.values())

NAMES = {
    "af": "Afrikaans", "ar": "Arabic", "be": "Belarusian", "bg": "Bulgarian", "bn": "Bengali", "ca": "Catalan", "cs": "Czech",
    "cy": "Welsh", "da": "Danish", "de": "German", "el": "Greek", "en": "English", "eo": "Esperanto", "es": "Spanish",
    "et": "Estonian", "eu": "Basque", "fa": "Persian", "fi": "Finnish", "fr": "French", "ga": "Irish", "gl": "Galician",
    "he": "Hebrew", "hi": "Hindi", "hr": "Croatian", "hu": "Hungarian", "hy": "Armenian", "id": "Indonesian", "is": "Icelandic",
    "it": "Italian", "ja": "Japanese", "ka": "Georgian", "ko": "Korean", "la": "Latin", "lt": "Lithuanian", "lv": "Latvian",
    "mk": "Macedonian", "ms": "Malay", "nb": "Norwegian Bokmål", "nl": "Dutch", "nn": "Norwegian Nynorsk", "no": "Norwegian",
    "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sk": "Slovak", "sl": "Slovenian", "sq": "Albanian",
    "sr": "Serbian", "sv": "Swedish", "sw": "Swahili", "ta": "Tamil", "te": "Telugu", "th": "Thai", "tl": "Tagalog",
    "tr": "Turkish", "uk": "Ukrainian", "ur": "Urdu", "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip
