/** Names of creators: people with names of their kitchens' countries, and channels that sound like brands. All invented. */

/** First names and family names by cuisine, in the order of `SOURCES` in dishes.ts. */
export const PEOPLE: Readonly<Record<string, readonly [string, string]>> = {
  Italian: [
    "Giulia,Marco,Chiara,Lorenzo,Elisa,Tommaso,Francesca,Davide",
    "Ferrante,Bellandi,Moretti,Casadei,Ricci,Tarantino,Galli,Serafini",
  ],
  French: [
    "Camille,Julien,Margaux,Étienne,Léa,Bastien,Odile,Rémi",
    "Dufresne,Marchand,Lacombe,Roussel,Garnier,Bonnard,Chevalier,Vasseur",
  ],
  Spanish: [
    "Lucía,Álvaro,Carmen,Iñigo,Marta,Javier,Nuria,Pau",
    "Echeverría,Vidal,Romero,Quintana,Soler,Ibarra,Cortés,Ferrer",
  ],
  Greek: [
    "Eleni,Nikos,Despina,Yannis,Katerina,Stavros,Ioanna,Petros",
    "Papadakis,Vlachos,Economou,Karras,Manolis,Sideris,Alexiou,Kostas",
  ],
  Turkish: ["Elif,Emre,Zeynep,Can,Defne,Mehmet,Ayşe,Kerem", "Yıldız,Demir,Aksoy,Kaplan,Öztürk,Aydın,Şahin,Tekin"],
  Levantine: [
    "Rana,Karim,Noor,Sami,Lina,Tarek,Yasmin,Elias",
    "Haddad,Khoury,Mansour,Sabbagh,Nassar,Azar,Saleh,Tannous",
  ],
  Moroccan: [
    "Salma,Youssef,Hind,Omar,Latifa,Mehdi,Zineb,Rachid",
    "Benali,Alaoui,Tazi,Idrissi,Chraibi,Lahlou,Bennani,Amrani",
  ],
  Persian: [
    "Shirin,Kamran,Nasrin,Behzad,Parisa,Arash,Mina,Dariush",
    "Tehrani,Ahmadi,Rostami,Kazemi,Farahani,Moradi,Shirazi,Navabi",
  ],
  Ethiopian: [
    "Hanna,Dawit,Selam,Bereket,Meron,Yonas,Tigist,Abel",
    "Tesfaye,Bekele,Haile,Girma,Alemu,Desta,Wolde,Mekonnen",
  ],
  Indian: [
    "Priya,Arjun,Meera,Vikram,Ananya,Rohan,Lakshmi,Farhan",
    "Iyer,Banerjee,Menon,Kapoor,Deshpande,Sethi,Pillai,Chatterjee",
  ],
  Thai: [
    "Ploy,Anong,Somchai,Niran,Malee,Kanya,Chai,Siri",
    "Srisai,Wongsa,Chaiyasit,Rattana,Boonmee,Suwan,Thongdee,Jaidee",
  ],
  Vietnamese: ["Linh,Minh,Thảo,Huy,Mai,Quân,Ngọc,Bảo", "Nguyễn,Trần,Phạm,Đặng,Vũ,Bùi,Hoàng,Lê"],
  Chinese: ["Mei,Wei,Lan,Jun,Xiu,Hao,Ying,Ming", "Chen,Zhao,Lin,Huang,Xu,Deng,Fang,Tang"],
  Japanese: ["Yuki,Haruto,Emi,Kenji,Aiko,Sota,Naomi,Ren", "Tanabe,Morita,Hayashi,Okada,Fujii,Sakamoto,Ueda,Nishimura"],
  Korean: ["Ji-woo,Min-ho,Soo-ah,Hyun,Eun-ji,Tae-yang,Hana,Joon", "Park,Choi,Kang,Yoon,Shin,Baek,Seo,Lim"],
  Mexican: [
    "Ximena,Diego,Valeria,Rafael,Paloma,Héctor,Citlali,Andrés",
    "Hernández,Aguilar,Castillo,Navarro,Villanueva,Luna,Ríos,Ochoa",
  ],
  American: [
    "Maggie,Caleb,June,Otis,Tessa,Wyatt,Nell,Darnell",
    "Whitaker,Brooks,Callahan,Greene,Hollis,Bradford,Ellison,Mercer",
  ],
  Brazilian: [
    "Beatriz,Thiago,Luana,Caio,Renata,Davi,Isadora,Bruno",
    "Almeida,Barros,Cardoso,Teixeira,Moura,Figueira,Rezende,Lopes",
  ],
  Peruvian: [
    "Micaela,Renzo,Killa,Joaquín,Fiorella,Mateo,Rosaura,Illari",
    "Quispe,Mamani,Salazar,Huamán,Paredes,Tello,Cáceres,Rojas",
  ],
  British: [
    "Harriet,Callum,Imogen,Alfie,Nisha,Rory,Beth,Tobias",
    "Fairweather,Ashdown,Pemberton,Lockwood,Hargreaves,Sutton,Marlowe,Thackeray",
  ],
  Nordic: [
    "Astrid,Lars,Ingrid,Mikkel,Saga,Anders,Liv,Eino",
    "Lindqvist,Holm,Nygaard,Bergström,Dahl,Virtanen,Ekström,Solberg",
  ],
  German: [
    "Johanna,Lukas,Friederike,Matthias,Lena,Jonas,Greta,Emil",
    "Brandt,Hoffmann,Kessler,Lindner,Vogel,Reimann,Schuster,Albrecht",
  ],
};

export const KITCHENS = ["{F}'s Kitchen", "{F} Cooks", "At {F}'s Table", "The {L} Table", "{F} & Family"] as const;

export const CHANNEL_FIRST =
  "Daily,Flavor,Quick,Simply,Prime,Tasty,Fresh,Golden,Smart,Family,Urban,Happy,Pure,Easy,Zesty,Cozy,Rapid,Bright,Green,Savory,Modern,Nourish,Home,Instant".split(
    ",",
  );
export const CHANNEL_SECOND =
  "Skillet,Bites,Plate,Fork,Spoon,Kitchen,Dish,Pantry,Table,Menu,Recipe,Oven,Whisk,Chef,Basil,Batch,Platter,Supper,Crave,Meal,Simmer,Sizzle,Ladle,Pan".split(
    ",",
  );
export const CHANNEL_THIRD = [
  "",
  "Lab",
  "Hub",
  "HQ",
  "Daily",
  "Studio",
  "Club",
  "AI",
  "Now",
  "Central",
  "Pro",
  "TV",
] as const;
