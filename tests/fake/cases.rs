//! One entry per platform: its settings, a buyer with all that it wants to know, and what becomes of a refund and of a refused sale.

/// By what a platform knows a sale.
pub enum Id {
    /// The dedupe id.
    Event,
    /// The shop's own reference.
    Reference,
    /// Something that only it knows.
    Other,
}

/// What differs between platforms.
pub struct Case {
    /// Its name.
    pub platform: &'static str,
    /// Keys of its table; `{base}` is its address.
    pub settings: &'static str,
    /// The buyer, in JSON.
    pub who: &'static str,
    /// State of a partial refund.
    pub refund: &'static str,
    /// The amount that is told for it, empty where it has none; `None`: nothing is told.
    pub told: Option<&'static str>,
    /// Where the first sale's body has the hash of what: the platform's own rule for match keys, applied by hand.
    pub hashes: &'static [(&'static str, &'static str)],
    /// Conversions that the odd orders make; a platform has no name for some kinds, and no room for some data.
    pub odd: usize,
    /// How the platform knows a sale.
    pub id: Id,
    /// It says the same to everything, so that neither a refusal nor a dead credential shows.
    pub silent: bool,
    /// State of a sale that the platform refuses.
    pub refused: &'static str,
}

/// 100.50
pub const ITEMS: &str = r#"{"items": [{"id": "MUG-1", "name": "Mug", "category": "Kitchen", "quantity": 2, "price": "40.25"}, {"id": "CUP-1", "name": "Cup", "quantity": 1, "price": "20"}], "tax": "0", "shipping": "0"}"#;
/// 9.99
pub const CUP: &str = r#"{"items": [{"id": "CUP-1", "name": "Cup", "quantity": 3, "price": "3.33"}]}"#;
/// 9003, in a currency without cents.
pub const YEN: &str = r#"{"items": [{"id": "1", "name": "湯呑み", "quantity": 3, "price": "3001"}], "coupon": "FALL5", "new_customer": true}"#;
/// Names that lists, tables and URLs are split by.
pub const ODD_ITEMS: &str =
    r#"{"items": [{"id": "a b|c,d", "name": "Mug | <big> & \"red\"", "quantity": "2.5", "price": "19.96"}], "coupon": "Ü|5"}"#;

/// The same buyer from elsewhere, with less care.
pub fn odd(who: &str) -> String {
    let mut who: serde_json::Value = serde_json::from_str(who).expect("JSON");
    for (name, value) in [
        ("email", " John.Doe+shop@GMAIL.com "),
        ("phone", "0049 30 123456"),
        ("ip", "2001:db8::1"),
        ("city", "São Paulo"),
        ("zip", "0123-4"),
        ("idfa", "660e1d86-6796-463a-be86-897993136018"),
    ] {
        if who.get(name).is_some() {
            who[name] = value.into();
        }
    }
    who.to_string()
}

const BUYER: &str = r#"{"email": " John.Doe+shop@GMAIL.com ", "phone": "+49 (30) 12-3456", "first_name": " Anne", "last_name": "Müller", "city": "St. Louis",
    "state": "MO", "zip": "63101-1234", "country": "US", "external_id": "User42", "ip": "203.0.113.7", "user_agent": "Mozilla/5.0 (X11; Linux x86_64)",
    "page_url": "https://shop.example/checkout/done?x=1", "fbclid": "AbCdEf_gh-1", "fbp": "fb.1.1771800000123.987654321", "gclid": "EAIaIQ", "ttclid": "E.C.P.a",
    "ttp": "2F7h37", "ScCid": "0f1e2d", "scid": "aa11", "epik": "dj0yJnU9", "awc": "1001_1403695822_a430d81e22c9e8687f423efcf024fbaa", "irclickid": "QiiWXOVn-r.Q_3",
    "cjevent": "5b1a8148b3a811eb80e89e3f0a1c0e12", "ranSiteID": "AbCdEfGhIjk-0123456789abcdefghijkl", "landed_at": "2026-01-02T10:04:00Z",
    "msclkid": "1234567890abcdef1234567890abcdef", "ga_client_id": "GA1.1.1234567890.1794800000", "ga_session_id": "1794999000",
    "appsflyer_id": "1415211453000-6513894", "platform": "ios", "os_version": "17.5", "att": 3, "adid": "18546f6171f67e29d1cb983322ad1329",
    "idfa": "660E1D86-6796-463A-BE86-897993136018", "idfv": "760E1D86-6796-463A-BE86-897993136019", "sdid": "40009df0-d618-4d81-9da1-cbb3337b8dec",
    "consent": {"ad_user_data": "granted", "ad_personalization": "granted"}}"#;

const PLAIN: Case = Case {
    platform: "",
    settings: "",
    who: BUYER,
    refund: "delivered",
    told: None,
    hashes: &[],
    odd: 8,
    id: Id::Event,
    silent: false,
    refused: "dead: *",
};

pub const META: Case = Case {
    platform: "meta",
    settings: "dataset = 1\naccess_token = \"t\"\nsource_url = \"https://shop.example/\"\nbatch_wait = \"300ms\"\nrefunds = \"event\"\n",
    told: Some("40.25 EUR"),
    hashes: &[
        ("/data/0/user_data/em/0", "john.doe+shop@gmail.com"),
        ("/data/0/user_data/ph/0", "4930123456"),
        ("/data/0/user_data/fn/0", "anne"),
        ("/data/0/user_data/ln/0", "müller"),
        ("/data/0/user_data/ct/0", "stlouis"),
        ("/data/0/user_data/st/0", "mo"),
        ("/data/0/user_data/zp/0", "63101"),
        ("/data/0/user_data/country/0", "us"),
    ],
    odd: 7,
    ..PLAIN
};
pub const GOOGLE_DATA_MANAGER: Case = Case {
    platform: "google_data_manager",
    settings: "account = 1234567890\nactions = { purchase = 5, lead = 6 }\nafter_click = \"0s\"\noauth = { client_id = \"c\", refresh_token = \"r\" }\n\
               token_url = \"{base}/token\"\nbatch_wait = \"300ms\"\nmerchant_id = \"7\"\nfeed_label = \"DE\"\nfeed_language = \"de\"\n",
    told: Some("60.25 EUR"),
    hashes: &[
        ("/events/0/userData/userIdentifiers/0/emailAddress", "johndoe@gmail.com"),
        ("/events/0/userData/userIdentifiers/1/phoneNumber", "+4930123456"),
        ("/events/0/userData/userIdentifiers/2/address/givenName", "anne"),
        ("/events/0/userData/userIdentifiers/2/address/familyName", "müller"),
    ],
    odd: 5,
    ..PLAIN
};
pub const GOOGLE_SERVICE_ACCOUNT: Case = Case {
    settings: "account = 1234567890\nactions = { purchase = 5, lead = 6 }\nafter_click = \"0s\"\nservice_account = '{key_file}'\n\
               token_url = \"{base}/token\"\nbatch_wait = \"300ms\"\n",
    ..GOOGLE_DATA_MANAGER
};
pub const AWIN: Case = Case {
    platform: "awin",
    settings: "advertiser = 1001\napi_key = \"k\"\nvalidation_token = \"v\"\nbatch_wait = \"300ms\"\nvalue = \"gross\"\ncommission_groups = { purchase = \"DEFAULT\", lead = \"LEAD\" }\n",
    id: Id::Reference,
    told: Some("60.25 EUR"),
    odd: 4,
    ..PLAIN
};
pub const TIKTOK: Case = Case {
    platform: "tiktok",
    settings: "event_source_id = \"C4A\"\naccess_token = \"t\"\nsource_url = \"https://shop.example/\"\nbatch_wait = \"300ms\"\nrefunds = \"event\"\n",
    told: Some("40.25 EUR"),
    hashes: &[
        ("/data/0/user/email/0", "john.doe+shop@gmail.com"),
        ("/data/0/user/phone/0", "+4930123456"),
        ("/data/0/user/first_name", "anne"),
        ("/data/0/user/last_name", "müller"),
        ("/data/0/user/zip_code", "631011234"),
    ],
    odd: 7,
    ..PLAIN
};
pub const IMPACT: Case = Case {
    platform: "impact",
    settings: "account = \"IR1\"\nauth_token = \"t\"\ncampaign = 1\nevent_types = { purchase = 8180, lead = 8181 }\nper_second = 100\nvalue = \"gross\"\nemail = \"sha256\"\nip = \"send\"\n",
    id: Id::Reference,
    told: Some("60.25"),
    odd: 5,
    ..PLAIN
};
pub const CJ: Case = Case {
    platform: "cj",
    settings: "enterprise = 1\nactions = { purchase = 155, lead = 156 }\ntoken = \"t\"\nitems = \"send\"\nbatch_wait = \"300ms\"\nvalue = \"gross\"\n",
    id: Id::Reference,
    told: Some("EUR"),
    odd: 4,
    ..PLAIN
};
pub const SNAPCHAT: Case = Case {
    platform: "snapchat",
    settings: "pixel = \"1ec32188-754e-4be2-8e55-c949a984a39f\"\naccess_token = \"t\"\nsource_url = \"https://shop.example/\"\nbatch_wait = \"300ms\"\n",
    refund: "skipped: *",
    hashes: &[("/data/0/user_data/em/0", "john.doe+shop@gmail.com"), ("/data/0/user_data/ph/0", "4930123456")],
    odd: 5,
    ..PLAIN
};
pub const PINTEREST: Case = Case {
    platform: "pinterest",
    settings: "ad_account = \"549755885175\"\naccess_token = \"t\"\nbatch_wait = \"300ms\"\nvalue = \"gross\"\n",
    refund: "skipped: *",
    hashes: &[
        ("/data/0/user_data/em/0", "john.doe+shop@gmail.com"),
        ("/data/0/user_data/ph/0", "4930123456"),
        ("/data/0/user_data/fn/0", "anne"),
        ("/data/0/user_data/ln/0", "müller"),
        ("/data/0/user_data/ct/0", "stlouis"),
        ("/data/0/user_data/st/0", "mo"),
        ("/data/0/user_data/country/0", "us"),
    ],
    ..PLAIN
};
pub const RAKUTEN: Case = Case {
    platform: "rakuten",
    settings: "merchant = 12345\nvalue = \"gross\"\nnames = { purchase = \"sale\", lead = \"LEAD\" }\namounts = \"cents\"\n",
    id: Id::Reference,
    told: Some("-4025 (x 100) EUR"),
    odd: 4,
    ..PLAIN
};
pub const GA4: Case = Case {
    platform: "ga4",
    settings: "measurement_id = \"G-ABC123DEF4\"\napi_secret = \"s\"\nvalue = \"gross\"\nuser_data = \"send\"\n",
    id: Id::Reference,
    silent: true,
    told: Some("40.25 EUR"),
    odd: 6,
    ..PLAIN
};
pub const APPSFLYER: Case = Case {
    platform: "appsflyer",
    settings: "apps = { ios = \"id123456789\", android = \"com.example.shop\" }\ns2s_key = \"k\"\nuser_data = \"send\"\n",
    id: Id::Reference,
    told: Some("-40.25 EUR"),
    hashes: &[("/email_hashed", "john.doe+shop@gmail.com"), ("/phone_number_hashed", "4930123456"), ("/phone_number_e164_hashed", "+4930123456")],
    odd: 5,
    ..PLAIN
};
pub const ADJUST: Case = Case {
    platform: "adjust",
    settings: "app_token = \"4w565xzmb54d\"\nevents = { purchase = \"f0ob4r\", refund = \"k2ab9x\", lead = \"l3ad\" }\n",
    id: Id::Event,
    told: Some(""),
    odd: 5,
    ..PLAIN
};
pub const MICROSOFT: Case = Case {
    platform: "microsoft",
    settings: "account = 1\ncustomer = 2\ngoals = { purchase = \"Shop purchase\", lead = \"Lead\" }\ndeveloper_token = \"d\"\nuser_data = \"send\"\n\
               oauth = { client_id = \"c\", client_secret = \"s\", refresh_token = \"r\" }\ntoken_url = \"{base}/token\"\nafter_click = \"0s\"\nrefund_after = \"0s\"\nbatch_wait = \"300ms\"\n",
    id: Id::Other,
    told: Some("60.25 EUR"),
    hashes: &[("/OfflineConversions/0/HashedEmailAddress", "johndoe@gmail.com")],
    odd: 5,
    ..PLAIN
};
pub const MICROSOFT_EVENTS: Case = Case {
    platform: "microsoft",
    settings: "api = \"capi\"\ntag = 12345678\naccess_token = \"t\"\nsource_url = \"https://shop.example/\"\nbatch_wait = \"300ms\"\n",
    refund: "skipped: *",
    hashes: &[("/data/0/userData/em", "johndoe@gmail.com")],
    odd: 7,
    ..PLAIN
};
pub const SINGULAR: Case = Case {
    platform: "singular",
    settings: "apps = { ios = \"com.example.shop\", android = \"com.example.shop\" }\nsdk_key = \"k\"\n",
    id: Id::Reference,
    told: Some(""),
    odd: 4,
    ..PLAIN
};
pub const GOOGLE_ADS: Case = Case {
    platform: "google_ads",
    settings: "account = \"123-456-7890\"\nactions = { purchase = 5, lead = 6 }\ndeveloper_token = \"d\"\nafter_click = \"0s\"\nbatch_wait = \"300ms\"\n\
               oauth = { client_id = \"c\", refresh_token = \"r\" }\ntoken_url = \"{base}/token\"\nmerchant_id = 7\nfeed_country = \"DE\"\nfeed_language = \"de\"\n",
    told: Some("60.25 EUR"),
    hashes: &[
        ("/conversions/0/userIdentifiers/0/hashedEmail", "johndoe@gmail.com"),
        ("/conversions/0/userIdentifiers/1/hashedPhoneNumber", "+4930123456"),
    ],
    odd: 5,
    ..PLAIN
};
