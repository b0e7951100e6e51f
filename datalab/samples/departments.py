"""Regions and departments of France: Insee, Code officiel géographique 2019."""

from dataclasses import dataclass
from typing import Final

REGIONS: Final = """
01 97105 Guadeloupe
02 97209 Martinique
03 97302 Guyane
04 97411 La Réunion
06 97608 Mayotte
11 75056 Île-de-France
24 45234 Centre-Val de Loire
27 21231 Bourgogne-Franche-Comté
28 76540 Normandie
32 59350 Hauts-de-France
44 67482 Grand Est
52 44109 Pays de la Loire
53 35238 Bretagne
75 33063 Nouvelle-Aquitaine
76 31555 Occitanie
84 69123 Auvergne-Rhône-Alpes
93 13055 Provence-Alpes-Côte d'Azur
94 2A004 Corse
"""
"""Region code, commune code of its prefecture, name."""

# Mayotte's seat was 97608 Dzaoudzi in this edition; Insee writes 97611 since 2023.
DEPARTMENTS: Final = """
01 84 01053 393 640 Ain / Bourg-en-Bresse
02 32 02408 800 540 Aisne / Laon
03 84 03190 317 340 Allier / Moulins
04 93 04070 198 160 Alpes-de-Haute-Provence / Digne-les-Bains
05 93 05061 162 140 Hautes-Alpes / Gap
06 93 06088 163 1080 Alpes-Maritimes / Nice
07 84 07186 335 330 Ardèche / Privas
08 44 08105 449 270 Ardennes / Charleville-Mézières
09 76 09122 327 150 Ariège / Foix
10 44 10387 431 310 Aube / Troyes
11 76 11069 433 370 Aude / Carcassonne
12 76 12202 285 280 Aveyron / Rodez
13 93 13055 119 2020 Bouches-du-Rhône / Marseille
14 28 14118 527 690 Calvados / Caen
15 84 15014 246 150 Cantal / Aurillac
16 75 16015 366 350 Charente / Angoulême
17 75 17300 463 640 Charente-Maritime / La Rochelle
18 24 18033 287 300 Cher / Bourges
19 75 19272 280 240 Corrèze / Tulle
21 27 21231 700 530 Côte-d'Or / Dijon
22 53 22278 348 600 Côtes-d'Armor / Saint-Brieuc
23 75 23096 256 120 Creuse / Guéret
24 75 24322 505 410 Dordogne / Périgueux
25 27 25056 573 540 Doubs / Besançon
26 84 26362 364 510 Drôme / Valence
27 28 27229 585 600 Eure / Évreux
28 24 28085 365 430 Eure-et-Loir / Chartres
29 53 29232 277 910 Finistère / Quimper
2A 94 2A004 124 150 Corse-du-Sud / Ajaccio
2B 94 2B033 236 180 Haute-Corse / Bastia
30 76 30189 351 740 Gard / Nîmes
31 76 31555 586 1360 Haute-Garonne / Toulouse
32 76 32013 461 190 Gers / Auch
33 75 33063 535 1580 Gironde / Bordeaux
34 76 34172 342 1140 Hérault / Montpellier
35 53 35238 333 1060 Ille-et-Vilaine / Rennes
36 24 36044 241 220 Indre / Châteauroux
37 24 37261 272 610 Indre-et-Loire / Tours
38 84 38185 512 1260 Isère / Grenoble
39 27 39300 494 260 Jura / Lons-le-Saunier
40 75 40192 327 410 Landes / Mont-de-Marsan
41 24 41018 267 330 Loir-et-Cher / Blois
42 84 42218 323 760 Loire / Saint-Étienne
43 84 43157 257 230 Haute-Loire / Le Puy-en-Velay
44 52 44109 207 1390 Loire-Atlantique / Nantes
45 24 45234 326 680 Loiret / Orléans
46 76 46042 313 170 Lot / Cahors
47 75 47001 319 330 Lot-et-Garonne / Agen
48 76 48095 152 80 Lozère / Mende
49 52 49007 177 810 Maine-et-Loire / Angers
50 28 50502 446 500 Manche / Saint-Lô
51 44 51108 613 570 Marne / Châlons-en-Champagne
52 44 52121 426 180 Haute-Marne / Chaumont
53 52 53130 242 310 Mayenne / Laval
54 44 54395 591 730 Meurthe-et-Moselle / Nancy
55 44 55029 499 190 Meuse / Bar-le-Duc
56 53 56260 250 750 Morbihan / Vannes
57 44 57463 725 1040 Moselle / Metz
58 27 58194 309 210 Nièvre / Nevers
59 32 59350 648 2600 Nord / Lille
60 32 60057 679 820 Oise / Beauvais
61 28 61001 385 290 Orne / Alençon
62 32 62041 890 1470 Pas-de-Calais / Arras
63 84 63113 464 650 Puy-de-Dôme / Clermont-Ferrand
64 75 64445 546 680 Pyrénées-Atlantiques / Pau
65 76 65440 469 230 Hautes-Pyrénées / Tarbes
66 76 66136 226 470 Pyrénées-Orientales / Perpignan
67 44 67482 514 1120 Bas-Rhin / Strasbourg
68 44 68066 366 760 Haut-Rhin / Colmar
69 84 69123 267 1840 Rhône / Lyon
70 27 70550 539 240 Haute-Saône / Vesoul
71 27 71270 565 550 Saône-et-Loire / Mâcon
72 52 72181 354 570 Sarthe / Le Mans
73 84 73065 273 430 Savoie / Chambéry
74 84 74010 279 800 Haute-Savoie / Annecy
75 11 75056 1 2190 Paris / Paris
76 28 76540 708 1250 Seine-Maritime / Rouen
77 11 77288 507 1400 Seine-et-Marne / Melun
78 11 78646 259 1430 Yvelines / Versailles
79 75 79191 256 370 Deux-Sèvres / Niort
80 32 80021 772 570 Somme / Amiens
81 76 81004 314 390 Tarn / Albi
82 76 82121 195 260 Tarn-et-Garonne / Montauban
83 93 83137 153 1060 Var / Toulon
84 93 84007 151 560 Vaucluse / Avignon
85 52 85191 258 670 Vendée / La Roche-sur-Yon
86 75 86194 266 440 Vienne / Poitiers
87 75 87085 195 370 Haute-Vienne / Limoges
88 44 88160 507 370 Vosges / Épinal
89 27 89024 423 340 Yonne / Auxerre
90 27 90010 101 140 Territoire de Belfort / Belfort
91 11 91228 194 1290 Essonne / Évry-Courcouronnes
92 11 92050 36 1600 Hauts-de-Seine / Nanterre
93 11 93008 40 1620 Seine-Saint-Denis / Bobigny
94 11 94028 47 1380 Val-de-Marne / Créteil
95 11 95500 184 1220 Val-d'Oise / Pontoise
971 01 97105 32 390 Guadeloupe / Basse-Terre
972 02 97209 34 370 Martinique / Fort-de-France
973 03 97302 22 270 Guyane / Cayenne
974 04 97411 24 850 La Réunion / Saint-Denis
976 06 97608 17 260 Mayotte / Dzaoudzi
"""
"""Department code, region code, commune code of the prefecture, number of communes,
rough number of inhabitants (thousands; only the order of magnitude is meant), name of
the department, name of the prefecture."""


@dataclass(frozen=True)
class Department:
    """One line of DEPARTMENTS."""

    code: str
    region: str
    prefecture: str
    communes: int
    inhabitants: int
    name: str
    prefecture_name: str


def list_departments() -> list[Department]:
    """Parse DEPARTMENTS, ordered by code as text: 29, 2A, 2B, 30."""
    departments = []
    for line in DEPARTMENTS.strip().splitlines():
        places, prefecture_name = line.split(" / ")
        code, region, prefecture, communes, thousands, name = places.split(" ", 5)
        departments.append(
            Department(
                code,
                region,
                prefecture,
                int(communes),
                int(thousands) * 1000,
                name,
                prefecture_name,
            )
        )
    return departments
